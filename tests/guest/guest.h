/* What the programs of tests/test_c_guest.py share. They print nothing unless something is wrong,
 * so that whatever else is printed is the library's. */
#define _GNU_SOURCE
#include <dirent.h>
#include <pytransformer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(holds, ...)                        \
  do {                                           \
    if (!(holds)) {                              \
      fprintf(stderr, "%s: ", #holds);           \
      fprintf(stderr, __VA_ARGS__);              \
      fprintf(stderr, "\n");                     \
      _exit(1);                                  \
    }                                            \
  } while (0)

static const char *const kGerman = "Ein Hund läuft durch den Schnee.";
static const char *const kEnglish = "A dog runs through the snow.";

/* Entries of a directory of this process's in /proc. */
static inline int entries(const char *path) {
  DIR *directory = opendir(path);
  int count = 0;
  while (readdir(directory) != NULL) ++count;
  closedir(directory);
  return count - 2; /* . and .. */
}

static inline int threads(void) { return entries("/proc/self/task"); }

/* How many threads there are once those that are about to leave have left: to be joined is to have
 * ended, but the system lists a thread for some microseconds more. */
static inline int settled_threads(int expected) {
  for (int i = 0; i < 1000 && threads() != expected; ++i) usleep(1000);
  return threads();
}

static inline pytransformer_translator *open_model(const char *path, int inter, int intra) {
  pytransformer_settings settings = PYTRANSFORMER_SETTINGS_INIT;
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  pytransformer_translator *translator = NULL;
  settings.inter_threads = inter;
  settings.intra_threads = intra;
  pytransformer_open(path, &settings, &translator, &error);
  CHECK(error.status == PYTRANSFORMER_OK, "%s", error.message);
  return translator;
}

/* Translates one sentence, with four beams, to what is expected; returns its score. */
static inline float translate(pytransformer_translator *translator) {
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  pytransformer_result *result = NULL;
  pytransformer_options options;
  pytransformer_hypothesis best;
  const pytransformer_text text = {kGerman, SIZE_MAX};
  pytransformer_options_init(&options, sizeof options);
  options.beam_size = 4;
  options.tgt_lang = "en";
  pytransformer_translate_texts(translator, &text, 1, &options, &result, &error);
  CHECK(error.status == PYTRANSFORMER_OK, "%s", error.message);
  pytransformer_hypothesis_init(&best, sizeof best);
  pytransformer_result_get(result, 0, 0, &best, &error);
  CHECK(strcmp(best.text.data, kEnglish) == 0, "%s", best.text.data);
  const float score = best.score;
  pytransformer_result_free(result);
  return score;
}
