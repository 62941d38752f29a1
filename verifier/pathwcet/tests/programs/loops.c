/* Functions whose loops have known most iterations; the test names them. */
int triangle(int n) { int s = 0; for (int i = 0; i < 20; i++) for (int j = 0; j < i; j++) s += (i ^ j) * n; return s; }
int early(const int *a) { for (int i = 0; i < 100; i++) if (a[i] == 7) return i; return -1; }
long clamped(const long *a, unsigned n) { long s = 0; if (n > 33) n = 33; for (unsigned i = 0; i < n; i++) s += a[i]; return s; }
struct triple { long a, b, c; };
long slice(const struct triple *p, unsigned n)
{ if (n > 10) return 0; const struct triple *e = p + n; long s = 0; for (; p != e; p++) s += p->b; return s; }
int exclusive(unsigned x, int *a)
{ int r = 0; if (x & 1) for (int i = 0; i < 50; i++) r += a[i] * r; if (!(x & 1)) for (int i = 0; i < 60; i++) r ^= a[i] * 3; return r; }
int table(unsigned x, int *a)
{ switch (x) { case 0: return triangle(1); case 1: return 5; case 2: return early(a); case 3: return x * 3; case 4: return 9; case 5: return triangle(3) + 1; default: return 0; } }
int euclid(unsigned a, unsigned b) { while (b) { unsigned t = a % b; a = b; b = t; } return a; }
__attribute__((noinline)) int recursive(int n) { volatile int keep = n; return n <= 0 ? 0 : keep + recursive(n - 1); }
#define AT_MOST(n) __asm__ volatile("1: nop\n.pushsection .gnomon.loops,\"a\"\n.quad 1b, " #n "\n.popsection")
int stated(unsigned a, unsigned b) { while (b) { AT_MOST(47); unsigned t = a % b; a = b; b = t; } return a; }
__asm__(".text\n.balign 64\n.globl timed\n.type timed, %function\ntimed: add x0, x0, #1\nmul x0, x0, x0\nldr x1, [sp]\nldr x2, [sp]\nret\n.size timed, .-timed\n"
        ".balign 64\n.globl timed_loop\n.type timed_loop, %function\ntimed_loop: mov x0, #3\n1: sub x0, x0, #1\ncbnz x0, 1b\nret\n.size timed_loop, .-timed_loop\n");
