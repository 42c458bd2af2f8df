/* What a process has of its own is as it was after each call, however odd it is, and does not show
 * in the translation. */
#include "guest.h"

#include <fenv.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

/* How numbers are computed: rounding, precision, the flushing of small ones, what traps. What has
 * been inexact so far is no setting. */
#if defined(__x86_64__)
#include <xmmintrin.h>
static unsigned long control(void) {
  fenv_t floats;
  fegetenv(&floats);
  return (_mm_getcsr() & ~0x3ful) << 16 | floats.__control_word;
}
static void flush_small_numbers(void) { _mm_setcsr(_mm_getcsr() | 0x8040); }
#elif defined(__aarch64__)
static unsigned long control(void) {
  unsigned long word;
  __asm__ volatile("mrs %0, fpcr" : "=r"(word));
  return word;
}
static void flush_small_numbers(void) {
  __asm__ volatile("msr fpcr, %0" : : "r"(control() | 1ul << 24));
}
#endif

extern char **environ;

enum { SIGNALS = 64, FILES = 64 };

struct state {
  struct sigaction actions[SIGNALS];
  sigset_t mask;
  unsigned long control;
  cpu_set_t affinity;
  struct itimerval timer;
  struct rlimit limits[RLIM_NLIMITS];
  int priority;
  int policy;
  mode_t umask;
  int files[FILES];
  int threads;
  char directory[4096];
  char locale[4096];
  char environment[65536];
};

static void take(struct state *state, int with_threads) {
  memset(state, 0, sizeof *state);
  for (int i = 1; i < SIGNALS; ++i) sigaction(i, NULL, &state->actions[i]);
  sigprocmask(SIG_SETMASK, NULL, &state->mask);
  state->control = control();
  sched_getaffinity(0, sizeof state->affinity, &state->affinity);
  getitimer(ITIMER_REAL, &state->timer);
  for (int i = 0; i < RLIM_NLIMITS; ++i) getrlimit(i, &state->limits[i]);
  state->priority = getpriority(PRIO_PROCESS, 0);
  state->policy = sched_getscheduler(0);
  state->umask = umask(0);
  umask(state->umask);
  for (int i = 0; i < FILES; ++i) {
    struct stat file;
    state->files[i] = fstat(i, &file) == 0;
  }
  state->threads = with_threads ? settled_threads(1) : 1;
  CHECK(getcwd(state->directory, sizeof state->directory) != NULL, "no folder");
  strcpy(state->locale, setlocale(LC_ALL, NULL));
  char *end = state->environment;
  for (char **entry = environ; *entry != NULL; ++entry) end = stpcpy(end, *entry) + 1;
}

#define SAME(part)                                                               \
  CHECK(memcmp(&before->part, &now.part, sizeof now.part) == 0, "changed by %s", when)

static void same(const struct state *before, const char *when, int with_threads) {
  static struct state now;
  take(&now, with_threads);
  for (int i = 1; i < SIGNALS; ++i) {
    CHECK(before->actions[i].sa_handler == now.actions[i].sa_handler, "signal %d, %s", i, when);
    CHECK(before->actions[i].sa_flags == now.actions[i].sa_flags, "signal %d, %s", i, when);
  }
  SAME(mask);
  SAME(control);
  SAME(affinity);
  SAME(timer);
  SAME(limits);
  SAME(priority);
  SAME(policy);
  SAME(umask);
  SAME(files);
  SAME(threads);
  SAME(directory);
  SAME(locale);
  SAME(environment);
}

static void handle(int signal) { (void)signal; }

/* Odd, each in its own way. */
static void make_odd(void) {
  struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR2);
  sigprocmask(SIG_BLOCK, &mask, NULL);
  fesetround(FE_UPWARD);
  flush_small_numbers();
  cpu_set_t all, one;
  sched_getaffinity(0, sizeof all, &all);
  CPU_ZERO(&one);
  for (int i = 0; CPU_COUNT(&one) == 0; ++i) {
    if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
  }
  sched_setaffinity(0, sizeof one, &one);
  /* One where numbers have a comma, if the system has any. */
  if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL) setlocale(LC_ALL, "C.UTF-8");
  setenv("OMP_NUM_THREADS", "3", 1);
  CHECK(chdir("/") == 0, "no root");
  umask(027);
}

static float visit(const char *model) {
  static struct state before;
  take(&before, 1);
  pytransformer_translator *translator = open_model(model, 1, 2);
  same(&before, "opening", 1);
  float score = translate(translator);
  same(&before, "translating", 0);
  score += translate(translator);
  same(&before, "translating again", 0);
  pytransformer_close(translator);
  same(&before, "closing", 1);
  return score;
}

int main(int argc, char **argv) {
  CHECK(argc == 2, "the model");
  const float score = visit(argv[1]);
  make_odd();
  const float odd = visit(argv[1]);
  fesetenv(FE_DFL_ENV);
  CHECK(score == odd, "%a and %a", (double)score, (double)odd);
  return 0;
}
