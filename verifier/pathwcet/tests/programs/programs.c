/* Programs of known worst cases. Every one is a function of up to four words; driver.c has the inputs. */
typedef unsigned char u8; typedef unsigned u32; typedef unsigned long u64;
#define SHARED __attribute__((noinline, used))

SHARED int empty(void) { return 0; }
SHARED int triangle(int n) { int s = 0; for (int i = 0; i < 20; i++) for (int j = 0; j < i; j++) s += (i ^ j) * n; return s; }
SHARED int early(const int *a) { for (int i = 0; i < 100; i++) if (a[i] == 7) return i; return -1; }
SHARED long clamped(const long *a, u32 n) { long s = 0; if (n > 33) n = 33; for (u32 i = 0; i < n; i++) s += a[i]; return s; }
struct triple { long a, b, c; };
SHARED long slice(const struct triple *p, u32 n)
{ if (n > 10) return 0; const struct triple *e = p + n; long s = 0; for (; p != e; p++) s += p->b; return s; }
SHARED int exclusive(u32 x, int *a)
{ int r = 0; if (x & 1) for (int i = 0; i < 50; i++) r += a[i] * r; if (!(x & 1)) for (int i = 0; i < 60; i++) r ^= a[i] * 3; return r; }
SHARED int table(u32 x, u32 y)
{ switch (x) { case 0: return y + 1; case 1: return y * y * 5; case 2: return y / 3; case 3: return x * 3 ^ y; case 4: return 9;
  case 5: return y << 3; case 6: { u32 s = y; for (int i = 0; i < 12; i++) s = s * 33 + i; return s; } default: return 0; } }
SHARED int not_equal(int x) { int s = x; for (int i = 0; i != 42; i += 3) s = s * 5 + i; return s; }
SHARED int tail_end(int x) { int s = 0; for (int i = 0; i < 5; i++) s = (s ^ x) * 7; return s; }
SHARED int tail_middle(int x) { return x & 1 ? tail_end(x * 3) : tail_end(x + 1); }
SHARED int tail_call(int x) { return tail_middle(x ^ 0x55); }
struct block { u64 w[12]; };
SHARED u64 copied(struct block *to, const struct block *from) { *to = *from; u64 s = 0; for (int i = 0; i < 12; i++) s += to->w[i]; return s; }
SHARED int binary_search(const int *a, int key)
{ int lo = 0, hi = 64; while (lo < hi) { int m = lo + (hi - lo) / 2; if (a[m] < key) lo = m + 1; else hi = m; } return lo; }
SHARED u32 euclid(u32 a, u32 b) { while (b) { u32 t = a % b; a = b; b = t; } return a; }
SHARED int bits_cleared(u64 x) { int n = 0; while (x) { x &= x - 1; n++; } return n; }
SHARED void bubble(int *a) { for (int i = 15; i > 0; i--) for (int j = 0; j < i; j++) if (a[j] > a[j + 1]) { int t = a[j]; a[j] = a[j + 1]; a[j + 1] = t; } }
SHARED void matrix(const int *a, const int *b, int *c)
{ for (int i = 0; i < 6; i++) for (int j = 0; j < 6; j++) { int s = 0; for (int k = 0; k < 6; k++) s += a[i * 6 + k] * b[k * 6 + j]; c[i * 6 + j] = s; } }
SHARED u32 crc(const u8 *p, u32 n)
{ u32 c = ~0u; if (n > 16) n = 16; for (u32 i = 0; i < n; i++) { c ^= p[i]; for (int k = 0; k < 8; k++) c = c >> 1 ^ (0xedb88320 & -(c & 1)); } return ~c; }
SHARED int find_text(const u8 *text, const u8 *word)
{ for (int i = 0; i + 4 <= 24; i++) { int j = 0; while (j < 4 && text[i + j] == word[j]) j++; if (j == 4) return i; } return -1; }
SHARED int recursive(int n) { volatile int keep = n; return n <= 0 ? 0 : keep + recursive(n - 1); }
SHARED void insertion(int *a) { for (int i = 1; i < 12; i++) { int k = a[i], j = i; while (j > 0 && a[j - 1] > k) { a[j] = a[j - 1]; j--; } a[j] = k; } }
SHARED u64 fibonacci(u32 n) { u64 a = 0, b = 1; if (n > 40) return 0; while (n--) { u64 t = a + b; a = b; b = t; } return a; }
SHARED u32 square_root(u32 v) { u32 r = 0; for (u32 bit = 1u << 15; bit; bit >>= 1) if ((r | bit) * (u64)(r | bit) <= v) r |= bit; return r; }
SHARED void hex(u8 *to, u64 v) { for (int i = 60; i >= 0; i -= 4) *to++ = "0123456789abcdef"[v >> i & 15]; }
SHARED int decimal(u8 *to, u32 v) { int n = 0; do { to[n++] = '0' + v % 10; v /= 10; } while (v); return n; }
SHARED int tokens(const u8 *p)
{ int s = 0, n = 0; for (int i = 0; i < 20; i++) { u8 c = p[i]; switch (s) { case 0: if (c == '(') s = 1; else if (c == '"') s = 2; break;
  case 1: if (c == ')') { s = 0; n++; } break; case 2: if (c == '\\') s = 3; else if (c == '"') { s = 0; n += 2; } break; case 3: s = 2; break; } } return n; }
SHARED int pair(const u8 *m) { for (int i = 0; i < 8; i++) for (int j = 0; j < 8; j++) if (m[i * 8 + j] == 9) return i * 8 + j; return -1; }
SHARED u32 reversed(u32 x) { u32 r = 0; for (int i = 0; i < 32; i++) { r = r << 1 | (x & 1); x >>= 1; } return r; }
SHARED u64 power(u64 x, u32 e) { u64 r = 1; while (e) { if (e & 1) r *= x; x *= x; e >>= 1; } return r; }
SHARED int sieve(u8 *a) { int n = 0; for (int i = 2; i < 48; i++) if (!a[i]) { n++; for (int j = i + i; j < 48; j += i) a[j] = 1; } return n; }
SHARED void filled(u64 *a, u32 n, u64 v) { n &= 63; for (u32 i = 0; i < n; i++) a[i] = v; }
SHARED int by_threes(int n) { int s = 0; if (n > 100) n = 100; while (n > 0) { s += n * n; n -= 3; } return s; }
SHARED int same_mode(u32 mode, const int *a)
{ int s = 0; for (int k = 0; k < (mode & 4 ? 30 : 5); k++) s += a[k]; for (int k = 0; k < (mode & 4 ? 4 : 25); k++) s ^= a[k] * 5; return s; }
static int plus(int a, int b) { return a + b; } static int times(int a, int b) { return a * b * 3 - 1; } static int shifted(int a, int b) { return a << (b & 7); }
typedef int (*operation)(int, int);
static const operation operations[] = { plus, times, shifted, times, plus, shifted };
SHARED int by_pointer(int x) { int s = x; for (int i = 0; i < 6; i++) s = operations[i](s, x + i); return s; }
static const u8 code[] = { 1, 5, 2, 3, 3, 2, 1, 4, 2, 9, 3, 1, 4, 4, 1, 200, 2, 3, 0 };
SHARED int interpreted(int x)
{ int a = x; for (int pc = 0; pc < 19; pc++) { switch (code[pc]) { case 1: a += code[++pc]; break; case 2: a = a * 2; break; case 3: a ^= x; break;
  case 4: a -= 3; break; case 0: return a; default: a = -a; } } return a; }
SHARED int heap_down(int *h) { int i = 0, v = h[0]; for (;;) { int c = 2 * i + 1; if (c >= 31) break; if (c + 1 < 31 && h[c + 1] > h[c]) c++;
  if (h[c] <= v) break; h[i] = h[c]; i = c; } h[i] = v; return i; }
SHARED u32 checked(u32 v) { if (v < 10) return v; if (v < 100) { u32 s = 0; for (u32 i = 0; i < v; i++) s += i; return s; } return v >> 3; }
SHARED int rotated(u32 *a, u32 by) { by %= 8; for (u32 k = 0; k < by; k++) { u32 t = a[0]; for (int i = 0; i < 7; i++) a[i] = a[i + 1]; a[7] = t; } return by; }
SHARED int lowest(u32 x) { for (int i = 0; i < 32; i++) if (x >> i & 1) return i; return 32; }
SHARED void put_words(u64 *to, const u64 *from, u32 n) { for (u32 i = 0; i < n; i++) to[i] = from[i]; }
SHARED u64 relayed(u64 *a, u64 x)
{ u64 t[4] = { x & 15, x, 3, 4 }, s = 0; put_words(a, t, 4); put_words(t, a + 2, 2);
  for (u64 i = 0; i < a[0]; i++) s += i ^ x; for (u64 i = 0; i < t[0]; i++) s *= 5 + i; return s; }
SHARED u32 width_or_self(u32 v) { if (v <= 20) return v; u32 r = 0; while (v) { r++; v >>= 1; } return r; }
SHARED u32 by_result(u32 v) { u32 n = width_or_self(v), s = 0; for (u32 i = 0; i < n; i++) s += i * v; return s + width_or_self(s & 63); }
