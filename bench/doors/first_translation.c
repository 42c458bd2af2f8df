/* Opens a model and translates one sentence: prints when the process began with exec(), when
 * main() began, when the model was open, and when the translation was there, in nanoseconds of the
 * system's monotonic clock. */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <pytransformer.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Begins anew as a fresh process that is told the time. */
static int restart(char** argv) {
  char time[24];
  snprintf(time, sizeof time, "%" PRId64, now());
  execl("/proc/self/exe", argv[0], argv[1], argv[2], time, (char*)NULL);
  perror("exec");
  return 1;
}

int main(int argc, char** argv) {
  const int64_t begun = now();
  if (argc == 3) return restart(argv);
  if (argc != 4) return 2;
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  pytransformer_translator* translator = NULL;
  pytransformer_result* result = NULL;
  const pytransformer_text text = {argv[2], SIZE_MAX};
  pytransformer_open(argv[1], NULL, &translator, &error);
  const int64_t opened = now();
  if (error.status == PYTRANSFORMER_OK) {
    pytransformer_translate_texts(translator, &text, 1, NULL, &result, &error);
  }
  const int64_t translated = now();
  if (error.status != PYTRANSFORMER_OK) {
    fprintf(stderr, "%s\n", error.message);
  } else {
    printf("%s %" PRId64 " %" PRId64 " %" PRId64 "\n", argv[3], begun, opened, translated);
  }
  pytransformer_result_free(result);
  pytransformer_close(translator);
  return error.status;
}
