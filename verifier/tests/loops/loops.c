// Loop programs whose true worst case the test finds by running every input. Each is one program in a section of its
// own; the context is 64 bytes, of which in[0] and in[1] vary over 0..=15 each, the rest is fixed.
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;
struct ctx { u32 in[16]; };
#define KEEP(x) asm volatile("" : "+r"(x))
#define PROG(name) __attribute__((section("p_" #name), used)) int name(struct ctx *c)
#define NOUNROLL _Pragma("clang loop unroll(disable)")
#define FOR(i, n) NOUNROLL for (u64 i = 0; i < (n); i++)

PROG(count_10) { u64 s = 0; FOR(i, 10) { s += i; KEEP(s); } return s; }
PROG(count_100) { u64 s = 0; FOR(i, 100) { s += i; KEEP(s); } return s; }
PROG(count_1000) { u64 s = 0; FOR(i, 1000) { s ^= i; KEEP(s); } return s; }
PROG(count_50000) { u64 s = 0; FOR(i, 50000) { s += i; KEEP(s); } return s; }
PROG(step_3) { u64 s = 0; NOUNROLL for (u64 i = 0; i < 100; i += 3) { s += i; KEEP(s); } return s; }
PROG(step_7_le) { u64 s = 0; NOUNROLL for (u64 i = 5; i <= 96; i += 7) { s += i; KEEP(s); KEEP(i); } return s; }
PROG(down_64) { u64 s = 0; NOUNROLL for (u64 i = 64; i > 0; i--) { s += i; KEEP(s); KEEP(i); } return s; }
PROG(down_ne) { u64 s = 0; NOUNROLL for (u64 i = 300; i != 0; i -= 3) { s += i; KEEP(s); KEEP(i); } return s; }
PROG(down_signed) { s64 s = 0; NOUNROLL for (s64 i = 40; i >= -9; i--) { s += i; KEEP(s); KEEP(i); } return s; }
PROG(up_signed) { s64 s = 0; NOUNROLL for (s64 i = -50; i < 50; i += 2) { s += i; KEEP(s); KEEP(i); } return s; }
PROG(up_32) { u32 s = 0; NOUNROLL for (u32 i = 0; i < 77; i++) { s += i; KEEP(s); KEEP(i); } return s; }
PROG(down_32) { u32 s = 0; NOUNROLL for (u32 i = 77; i; i--) { s += i; KEEP(s); KEEP(i); } return s; }
PROG(s32_up) { s32 s = 0; NOUNROLL for (s32 i = -20; i <= 20; i++) { s += i; KEEP(s); KEEP(i); } return s; }
PROG(s32_down) { s32 s = 0; NOUNROLL for (s32 i = 20; i >= -20; i -= 4) { s += i; KEEP(s); KEEP(i); } return s; }
PROG(do_while) { u64 i = 0; do { i += 5; KEEP(i); } while (i < 200); return i; }
PROG(while_true_break) { u64 i = 0; NOUNROLL while (1) { KEEP(i); if (i >= 123) break; i++; } return i; }
PROG(data_n) { u64 n = c->in[0] & 15, s = 0; FOR(i, n) { s += i; KEEP(s); } return s; }
PROG(data_n_plus) { u64 n = (c->in[0] & 15) + 5, s = 0; FOR(i, n) { s += i; KEEP(s); } return s; }
PROG(data_clamped) { u64 n = c->in[0], s = 0; if (n > 12) n = 12; FOR(i, n) { s += i; KEEP(s); } return s; }
PROG(data_times) { u64 n = (c->in[0] & 7) * 4, s = 0; FOR(i, n) { s += i; KEEP(s); } return s; }
PROG(data_lt) { u64 n = c->in[0] & 15, i = 0; NOUNROLL while (1) { KEEP(i); if (i >= n) break; i++; } return i; }
PROG(data_down) { u64 n = c->in[0] & 15; NOUNROLL while (n) { n--; KEEP(n); } return n; }
PROG(data_start) { u64 i = c->in[0] & 15, s = 0; NOUNROLL for (; i < 40; i++) { s += i; KEEP(s); KEEP(i); } return s; }
PROG(two_data) { u64 i = c->in[0] & 15, n = 20 + (c->in[1] & 15), s = 0; NOUNROLL for (; i < n; i++) { s++; KEEP(s); KEEP(i); } return s; }
PROG(nested_5_7) { u64 s = 0; FOR(i, 5) FOR(j, 7) { s += j; KEEP(s); } return s; }
PROG(nested_30_40) { u64 s = 0; FOR(i, 30) FOR(j, 40) { s += j; KEEP(s); } return s; }
PROG(nested_3) { u64 s = 0; FOR(i, 6) FOR(j, 5) FOR(k, 4) { s += k; KEEP(s); } return s; }
PROG(triangle) { u64 s = 0; NOUNROLL for (u64 i = 0; i < 20; i++) { NOUNROLL for (u64 j = 0; j < i; j++) { s += j; KEEP(s); KEEP(j); } KEEP(i); } return s; }
PROG(triangle_down) { u64 s = 0; NOUNROLL for (u64 i = 0; i < 16; i++) { NOUNROLL for (u64 j = i; j < 16; j++) { s += j; KEEP(s); KEEP(j); } KEEP(i); } return s; }
PROG(triangle_100) { u64 s = 0; NOUNROLL for (u64 i = 0; i < 100; i++) { NOUNROLL for (u64 j = 0; j < i; j++) { s += j; KEEP(s); KEEP(j); } KEEP(i); } return s; }
PROG(triangle_3) { u64 s = 0; NOUNROLL for (u64 i = 0; i < 8; i++) { NOUNROLL for (u64 j = 0; j < i; j++) { NOUNROLL for (u64 k = 0; k < j; k++) { s++; KEEP(s); KEEP(k); } KEEP(j); } KEEP(i); } return s; }
PROG(break_data) { u64 s = 0; FOR(i, 30) { if (c->in[0] == i + 5) break; s += i; KEEP(s); } return s; }
PROG(continue_odd) { u64 s = 0; NOUNROLL for (u64 i = 0; i < 40; i++) { KEEP(i); if (i & 1) continue; s += i; KEEP(s); s ^= 3; KEEP(s); } return s; }
PROG(heavy_every_8) { u64 s = 0; NOUNROLL for (u64 i = 0; i < 64; i++) { KEEP(i); if ((i & 7) == 0) { s += 1; KEEP(s); s *= 3; KEEP(s); s ^= i; KEEP(s); } } return s; }
PROG(first_only) { u64 s = 0; NOUNROLL for (u64 i = 0; i < 30; i++) { KEEP(i); if (i == 0) { s += 7; KEEP(s); s *= 3; KEEP(s); } s++; KEEP(s); } return s; }
PROG(last_only) { u64 s = 0; NOUNROLL for (u64 i = 0; i < 30; i++) { KEEP(i); if (i == 29) { s += 7; KEEP(s); s *= 3; KEEP(s); } s++; KEEP(s); } return s; }
PROG(half_split) { u64 s = 0; NOUNROLL for (u64 i = 0; i < 50; i++) { KEEP(i); if (i < 25) { s += 7; KEEP(s); s *= 3; KEEP(s); } else { s++; KEEP(s); } } return s; }
PROG(data_branch) { u64 s = 0; NOUNROLL for (u64 i = 0; i < 20; i++) { KEEP(i); if (c->in[0] & 1) { s += i; KEEP(s); s *= 5; KEEP(s); } } return s; }
PROG(shift_right) { u64 x = c->in[0] & 15, n = 0; NOUNROLL while (x) { x >>= 1; n++; KEEP(x); KEEP(n); } return n; }
PROG(shift_left) { u64 x = 1, n = 0; NOUNROLL while (x < 100000) { x <<= 1; n++; KEEP(x); KEEP(n); } return n; }
PROG(times_three) { u64 x = 1, n = 0; NOUNROLL while (x < 1000000) { x *= 3; n++; KEEP(x); KEEP(n); } return n; }
PROG(fibonacci) { u64 a = 0, b = 1; NOUNROLL while (a < 10000) { u64 t = a + b; a = b; b = t; KEEP(a); KEEP(b); } return a; }
PROG(gcd_sub) { u64 a = (c->in[0] & 15) + 1, n = 0; NOUNROLL while (a > 3) { a -= 3; n++; KEEP(a); KEEP(n); } return n; }
PROG(div_ten) { u64 x = c->in[0] & 15, n = 0; NOUNROLL do { x /= 10; n++; KEEP(x); KEEP(n); } while (x); return n; }
PROG(power_of_two) { u64 s = 0; NOUNROLL for (u64 i = 1; i <= 4096; i *= 2) { s += i; KEEP(s); KEEP(i); } return s; }
PROG(binary_search) { u64 lo = 0, hi = 256, x = c->in[0], n = 0; NOUNROLL for (u64 i = 0; i < 8; i++) { KEEP(i); u64 m = (lo + hi) >> 1; KEEP(m); if (m < x) lo = m + 1; else hi = m; n++; KEEP(lo); KEEP(hi); } return n; }
PROG(array_sum) { u64 s = 0; FOR(i, 16) { s += c->in[i]; KEEP(s); } return s; }
PROG(array_find) { u64 i; NOUNROLL for (i = 2; i < 16; i++) { u32 v = c->in[i]; KEEP(v); if (v == c->in[0] + 100) break; } return i; }
PROG(array_max) { u32 m = 0; FOR(i, 16) { u32 v = c->in[i]; KEEP(v); if (v > m) m = v; } return m; }
PROG(stack_fill) { u8 b[32]; NOUNROLL for (u32 i = 0; i < 32; i++) { b[i] = i; asm volatile("" ::: "memory"); } return b[c->in[0] & 31]; }
PROG(stack_fill_sum) { u8 b[24]; u32 s = 0; NOUNROLL for (u32 i = 0; i < 24; i++) { b[i] = i; asm volatile("" ::: "memory"); } NOUNROLL for (u32 i = 0; i < 24; i++) { s += b[i]; KEEP(s); } return s; }
PROG(sequence) { u64 s = 0; FOR(i, 12) { s += i; KEEP(s); } FOR(j, 34) { s += j; KEEP(s); } FOR(k, 56) { s += k; KEEP(s); } return s; }
PROG(either_loop) { u64 s = 0; if (c->in[0] & 1) { FOR(i, 12) { s += i; KEEP(s); } } else { FOR(j, 34) { s += j; KEEP(s); } } return s; }
PROG(loop_in_branch) { u64 s = 0; FOR(i, 10) { if (c->in[0] > 7) { FOR(j, 5) { s += j; KEEP(s); } } s++; KEEP(s); } return s; }
PROG(two_counters) { u64 i = 0, j = 50, s = 0; NOUNROLL while (i < j) { i++; j--; s++; KEEP(i); KEEP(j); KEEP(s); } return s; }
PROG(two_exits) { u64 i = 0, j = 0; NOUNROLL while (1) { KEEP(i); KEEP(j); if (i >= 40) break; if (j >= 60) break; i += 2; j += 5; } return i; }
PROG(count_matches) { u64 n = 0; NOUNROLL for (u64 i = 0; i < 16; i++) { KEEP(i); if (c->in[0] == i) { n++; KEEP(n); n += 2; KEEP(n); } } return n; }
PROG(bits_set) { u64 x = c->in[0] & 15, n = 0; NOUNROLL for (u64 i = 0; i < 8; i++) { n += x & 1; x >>= 1; KEEP(n); KEEP(x); } return n; }
PROG(loop_of_result) { u64 x = c->in[0] & 15, n = 0, s = 0; NOUNROLL for (u64 i = 0; i < 4; i++) { n += x & 1; x >>= 1; KEEP(n); KEEP(x); } FOR(j, n) { s++; KEEP(s); } return s; }
PROG(alternating) { u64 s = 0, odd = 0; NOUNROLL for (u64 i = 0; i < 30; i++) { KEEP(i); if (odd) { s += 3; KEEP(s); s *= 7; KEEP(s); s ^= i; KEEP(s); } odd ^= 1; KEEP(odd); } return s; }
PROG(state_machine) { u64 st = 0, n = 0; NOUNROLL while (st != 5) { KEEP(st); n++; KEEP(n); if (st == 0) st = 2; else if (st == 2) st = 4; else if (st == 4) st = 1; else if (st == 1) st = 3; else st = 5; } return n; }
PROG(descending_work) { u64 s = 0, w = 12; NOUNROLL while (w) { NOUNROLL for (u64 j = 0; j < w; j++) { s++; KEEP(s); KEEP(j); } w -= 2; KEEP(w); } return s; }
PROG(early_return) { NOUNROLL for (u64 i = 0; i < 100; i++) { KEEP(i); if (i * 3 == c->in[0] + 30) return i; } return 0; }
PROG(nested_break) { u64 s = 0; NOUNROLL for (u64 i = 0; i < 10; i++) { NOUNROLL for (u64 j = 0; j < 10; j++) { KEEP(j); if (j == c->in[0]) break; s++; KEEP(s); } KEEP(i); } return s; }
PROG(count_200k) { u64 s = 0; FOR(i, 200000) { s += 5; KEEP(s); } return s; }
