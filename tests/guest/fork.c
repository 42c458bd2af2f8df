/* Children of a process that has translated, and of one whose other thread is translating. */
#include <pthread.h>
#include <stdatomic.h>

#include "guest.h"

static pytransformer_translator *translator;
static float expected;
static atomic_int stopped;

static void *translate_on(void *unused) {
  while (!stopped) CHECK(translate(translator) == expected, "another score");
  return unused;
}

static void child_of(int close) {
  const pid_t child = fork();
  CHECK(child >= 0, "no child");
  if (child == 0) {
    CHECK(threads() == 1, "%d in the child", threads());
    CHECK(translate(translator) == expected, "another score");
    CHECK(threads() > 1, "%d in the child", threads());
    if (close) {
      pytransformer_close(translator);
      CHECK(settled_threads(1) == 1, "%d after closing", threads());
    }
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0, "the child's status is %x", status);
}

int main(int argc, char **argv) {
  CHECK(argc == 2, "the model");
  translator = open_model(argv[1], 2, 2);
  expected = translate(translator);
  child_of(0);
  child_of(1);
  CHECK(translate(translator) == expected, "another score");

  pthread_t other;
  pthread_create(&other, NULL, translate_on, NULL);
  for (int i = 0; i < 10; ++i) {
    usleep(1000 * i);
    child_of(1);
  }
  stopped = 1;
  pthread_join(other, NULL);
  pytransformer_close(translator);
  CHECK(settled_threads(1) == 1, "%d after closing", threads());

  /* One who closes only what its parent has opened, and never translates. */
  translator = open_model(argv[1], 1, 2);
  translate(translator);
  const pid_t child = fork();
  if (child == 0) {
    pytransformer_close(translator);
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0, "the child's status is %x", status);
  pytransformer_close(translator);
  return 0;
}
