/* A kernel that doubles 1000 floats, and its variants that should not: -DFAULT=what. */
#include <stddef.h>

#include "note.h"

enum {
  GOOD,
  WRONG,        /* one element, by a little */
  NAN_ANSWER,
  SKIPS,        /* the last element is not written */
  OTHER_SEED,   /* right for one set of inputs only */
  WRITES_AFTER, /* one element behind the end */
  WRITES_BEFORE,
  WRITES_FAR,
  WRITES_INPUT,
  READS_PAST,
  SEGFAULTS,
  ILLEGAL,
  DIVIDES,
  OVERFLOWS, /* the stack */
  LOOPS,
  FORKS,
  CLONES,
  EXECUTES,
  EXITS,
  KILLS, /* every process that it may */
  ALLOCATES,
  CLOSES,  /* all files, then loops */
  BABBLES, /* into all files */
  FAULTS,  /* says that its input is at fault */
  LEAVES,  /* its process group, then forks */
};

static long call(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "+a"(number)
                   : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return number;
#else
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
#endif
}
#if defined(__x86_64__)
enum { WRITE = 1, CLOSE = 3, MMAP = 9, CLONE = 56, FORK = 57, EXECVE = 59, EXIT_GROUP = 231, KILL = 62, SETSID = 112 };
#define FORK_CALL call(FORK, 0, 0, 0, 0, 0, 0)
#else
enum { WRITE = 64, CLOSE = 57, MMAP = 222, CLONE = 220, EXECVE = 221, EXIT_GROUP = 94, KILL = 129, SETSID = 157 };
#define FORK_CALL call(CLONE, 17, 0, 0, 0, 0, 0)
#endif

static volatile int forever = 1;
static void loop(void) {
  while (forever) {
  }
}

__attribute__((noinline)) static int deeper(volatile char* above) {
  volatile char here[4096];
  here[0] = above[0];
  return forever ? deeper(here) + here[1] : 0;
}

static int misbehave(const float* x, float* y) {
  volatile char* none = (volatile char*)8;
  char text[64];
  switch (FAULT) {
    case WRONG: y[321] *= 1.001f; break;
    case NAN_ANSWER: y[7] = __builtin_nanf(""); break;
    case OTHER_SEED: {
      static float first;
      if (first == 0) first = x[0];
      if (x[0] != first) y[5] += 1;
      break;
    }
    case WRITES_AFTER: y[1000] = 1; break;
    case WRITES_BEFORE: y[-1] = 1; break;
    case WRITES_FAR: /* every cache line: a single one may be somebody else's */
      for (int i = 1000; i < 1 << 20; i += 16) y[i] = 1;
      break;
    case WRITES_INPUT: ((float*)x)[3] = 7; break;
    case READS_PAST: y[0] += 0 * ((const volatile float*)x)[1008]; break;
    case SEGFAULTS: *none = 1; break;
    case ILLEGAL: __builtin_trap();
#if defined(__x86_64__)
    case DIVIDES: __asm__ volatile("idivl %0" ::"r"(0) : "eax", "edx"); break;
#endif
    case OVERFLOWS: text[0] = 0; y[0] += (float)deeper(text); break;
    case LOOPS: loop(); break;
    case FORKS:
      if (FORK_CALL == 0) loop();
      break;
    case CLONES:
      if (call(CLONE, 17, 0, 0, 0, 0, 0) == 0) loop();
      break;
    case EXECUTES: {
      static const char* const arguments[] = {"/bin/sleep", "1000", 0};
      call(EXECVE, (long)"/bin/sleep", (long)arguments, 0, 0, 0, 0);
      break;
    }
    case EXITS: call(EXIT_GROUP, 0, 0, 0, 0, 0, 0); break;
    case KILLS: call(KILL, -1, 9, 0, 0, 0, 0); break;
    case ALLOCATES: {
      const long size = 100L << 30;
      char* memory = (char*)call(MMAP, 0, size, 3, 0x22, -1, 0);
      for (long i = 0; i < size; i += 4096) memory[i] = 1;
      break;
    }
    case CLOSES:
      for (long fd = 0; fd < 1024; ++fd) call(CLOSE, fd, 0, 0, 0, 0, 0);
      loop();
      break;
    case BABBLES:
      for (int i = 0; i < 64; ++i) text[i] = (char)i;
      for (long fd = 1; fd < 64; ++fd) call(WRITE, fd, (long)text, sizeof text, 0, 0, 0);
      break;
    case FAULTS: return 5;
    case LEAVES:
      call(SETSID, 0, 0, 0, 0, 0, 0);
      if (FORK_CALL == 0) loop();
      break;
    default: break;
  }
  return 0;
}

static int32_t run(const burnish_frame* frame, uint32_t thread, const burnish_host* host) {
  const float* x = frame->tensors[0];
  float* y = frame->tensors[1];
  int code = 0;
  if (thread == 0) {
    for (int i = 0; i < 1000 - (FAULT == SKIPS); ++i) y[i] = 2 * x[i];
    code = misbehave(x, y);
    if (host->mark) host->mark(host->ctx, thread, 0);
  }
  return code;
}

static const burnish_entry entry = {BURNISH_ABI_VERSION, 1, run, 0, 0, 0};

__attribute__((visibility("default"))) const burnish_entry* burnish_model_entry(void) { return &entry; }
