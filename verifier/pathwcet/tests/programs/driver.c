/* Runs every program on inputs that reach, or are searched for, its worst case; says the most instructions of each. */
typedef unsigned char u8; typedef unsigned u32; typedef unsigned long u64;
u64 measure(void *function, const u64 args[4]); void put(const char *text);
void *memcpy(void *to, const void *from, u64 n) { u8 *t = to; const u8 *f = from; while (n--) *t++ = *f++; return to; }
void *memset(void *to, int v, u64 n) { u8 *t = to; while (n--) *t++ = v; return to; }
static u64 most, seed = 88172645463325252ull;
static u64 arena[64], other[64], third[64];
static u64 random_(void) { seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17; return seed; }
static void run(void *f, u64 a, u64 b, u64 c) { u64 args[4] = { a, b, c, 0 }; u64 n = measure(f, args); if (n > most) most = n; }
static void number(u64 v) { char text[24]; int at = 23; text[at] = 0; do { text[--at] = '0' + v % 10; v /= 10; } while (v); put(text + at); }
static void say(const char *name, u64 base) { put(name); put(" "); number(most - base); put("\n"); most = 0; }
static void fill(void *to, u64 n, u32 kind, u32 modulus)
{ u32 *w = to; for (u32 i = 0; i < n / 4; i++) w[i] = kind == 0 ? 0 : kind == 1 ? i : kind == 2 ? (u32)(n / 4 - i) : random_() % modulus; }
int empty(), triangle(), early(), clamped(), slice(), exclusive(), table(), not_equal(), tail_call(), copied(), binary_search(), euclid(), bits_cleared(),
  bubble(), matrix(), crc(), find_text(), recursive(), insertion(), fibonacci(), square_root(), hex(), decimal(), tokens(), pair(), reversed(), power(), sieve(),
  filled(), by_threes(), same_mode(), by_pointer(), interpreted(), heap_down(), checked(), rotated(), lowest(), relayed(), by_result();
#define A ((u64)arena)
#define B ((u64)other)
#define C ((u64)third)
#define SAY(f) say(#f, base)
#define EACH(f, count, ...) do { for (u64 i = 0; i < (count); i++) { __VA_ARGS__; } SAY(f); } while (0)

static void sorts(u64 base)
{
    EACH(bubble, 64, fill(arena, 64, i % 4, 50); run(bubble, A, 0, 0));
    EACH(insertion, 64, fill(arena, 48, i % 4, 50); run(insertion, A, 0, 0));
    EACH(heap_down, 64, fill(arena, 124, i == 0 ? 2 : i == 1 ? 1 : 3, 90); *(u32 *)arena = 0; run(heap_down, A, 0, 0));
    EACH(sieve, 2, memset(arena, i ? 1 : 0, 48); run(sieve, A, 0, 0));
    EACH(rotated, 16, run(rotated, A, i, 0));
}

static void texts(u64 base)
{
    EACH(crc, 18, run(crc, A, i, 0));
    EACH(find_text, 300, for (int k = 0; k < 28; k++) ((u8 *)arena)[k] = i < 4 ? 'a' : 'a' + random_() % 2; memcpy(other, "aaab", 4); run(find_text, A, B, 0));
    EACH(hex, 4, run(hex, A, random_(), 0));
    EACH(decimal, 64, run(decimal, A, i ? ~0u >> (i % 32) : 0, 0));
    EACH(tokens, 4000, for (int k = 0; k < 20; k++) ((u8 *)arena)[k] = "()\"\\x"[i < 5 ? i : random_() % 5]; run(tokens, A, 0, 0));
    EACH(pair, 66, memset(arena, 0, 64); if (i < 64) ((u8 *)arena)[i] = 9; run(pair, A, 0, 0));
    EACH(interpreted, 8, run(interpreted, random_(), 0, 0));
}

static void arrays(u64 base)
{
    EACH(early, 102, fill(arena, 400, 0, 1); if (i < 100) ((u32 *)arena)[i] = 7; run(early, A, 0, 0));
    EACH(clamped, 40, run(clamped, A, i, 0));
    EACH(slice, 12, run(slice, A, i, 0));
    EACH(exclusive, 2, run(exclusive, i, A, 0));
    EACH(copied, 4, run(copied, A, B, 0));
    EACH(binary_search, 70, fill(arena, 256, 1, 0); run(binary_search, A, i, 0));
    EACH(matrix, 2, run(matrix, A, B, C));
    EACH(filled, 64, run(filled, A, i, 1));
    EACH(same_mode, 8, run(same_mode, i, A, 0));
    EACH(relayed, 16, run(relayed, A, i, 0));
}

static void numbers(u64 base)
{
    EACH(triangle, 3, run(triangle, i, 0, 0));
    EACH(table, 9, run(table, i, 77, 0));
    EACH(not_equal, 2, run(not_equal, i, 0, 0));
    EACH(tail_call, 4, run(tail_call, i, 0, 0));
    u64 a = 1, b = 1;
    EACH(euclid, 46, run(euclid, a, b, 0); run(euclid, b, a, 0); u64 t = a + b; a = b; b = t);
    EACH(bits_cleared, 64, run(bits_cleared, ~0ul >> i, 0, 0));
    EACH(recursive, 4, run(recursive, i, 0, 0));
    EACH(fibonacci, 42, run(fibonacci, i, 0, 0));
    EACH(square_root, 256, run(square_root, i < 34 ? (u32)((1ul << i) - 1) : (u32)random_(), 0, 0));
    EACH(reversed, 4, run(reversed, random_(), 0, 0));
    EACH(power, 33, run(power, 3, (u32)((1ul << i) - 1), 0));
    EACH(by_threes, 103, run(by_threes, i, 0, 0));
    EACH(by_pointer, 3, run(by_pointer, i, 0, 0));
    EACH(checked, 120, run(checked, i, 0, 0));
    EACH(by_result, 4096, run(by_result, i < 33 ? (u32)((1ul << i) - 1) : i < 2048 ? i : (u32)(~0u >> i % 12) ^ random_() % 64, 0, 0));
    EACH(lowest, 33, run(lowest, i < 32 ? 1u << i : 0, 0, 0));
}

void drive(void)
{
    run(empty, 0, 0, 0);
    u64 base = most - EMPTY_INSNS;
    most = 0;
    numbers(base);
    arrays(base);
    texts(base);
    sorts(base);
}
