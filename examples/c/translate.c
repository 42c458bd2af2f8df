/* Translates standard input line by line.
 *
 *   translate MODEL [--from LANG] [--to LANG] [--beam-size N] [--scores]
 *
 * --scores writes "score<TAB>text", the score as a hexadecimal number, which loses no bit of it. */
#define _POSIX_C_SOURCE 200809L
#include <pytransformer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64 }; /* lines translated together are faster than one by one */

static int fail(const pytransformer_error* error) {
  fprintf(stderr, "translate: %s\n", error->message);
  return 1;
}

static int print(const pytransformer_result* result, int scores, pytransformer_error* error) {
  for (size_t i = 0; i < pytransformer_result_count(result); ++i) {
    pytransformer_hypothesis best;
    pytransformer_hypothesis_init(&best, sizeof best);
    if (pytransformer_result_get(result, i, 0, &best, error)) return fail(error);
    if (scores) printf("%a\t", (double)best.score);
    fwrite(best.text.data, 1, best.text.length, stdout);
    putchar('\n');
  }
  return 0;
}

/* Reads at most BATCH lines; returns how many there are. Their memory serves for the next ones. */
static size_t read_lines(char** lines, size_t* sizes, pytransformer_text* texts) {
  size_t count = 0;
  while (count < BATCH) {
    const ssize_t length = getline(&lines[count], &sizes[count], stdin);
    if (length < 0) break;
    const int ends = lines[count][length - 1] == '\n';
    texts[count].data = lines[count];
    texts[count++].length = (size_t)length - (size_t)ends;
  }
  return count;
}

static int translate(pytransformer_translator* translator, const pytransformer_options* options,
                     int scores) {
  char* lines[BATCH] = {NULL};
  size_t sizes[BATCH] = {0};
  pytransformer_text texts[BATCH];
  int failed = 0;
  for (size_t count = BATCH; count == BATCH && !failed;) {
    pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
    pytransformer_result* result = NULL;
    count = read_lines(lines, sizes, texts);
    failed = pytransformer_translate_texts(translator, texts, count, options, &result, &error)
                 ? fail(&error)
                 : print(result, scores, &error);
    pytransformer_result_free(result);
  }
  for (size_t i = 0; i < BATCH; ++i) free(lines[i]);
  return failed || ferror(stdin) || fflush(stdout);
}

int main(int argc, char** argv) {
  const char* model = NULL;
  int scores = 0;
  pytransformer_options options;
  pytransformer_options_init(&options, sizeof options);
  for (int i = 1; i < argc; ++i) {
    const int has_value = i + 1 < argc;
    if (strcmp(argv[i], "--scores") == 0) {
      scores = options.return_scores = 1;
    } else if (strcmp(argv[i], "--from") == 0 && has_value) {
      options.src_lang = argv[++i];
    } else if (strcmp(argv[i], "--to") == 0 && has_value) {
      options.tgt_lang = argv[++i];
    } else if (strcmp(argv[i], "--beam-size") == 0 && has_value) {
      options.beam_size = atoi(argv[++i]);
    } else {
      model = argv[i];
    }
  }

  if (model == NULL) {
    fputs("translate MODEL [--from LANG] [--to LANG] [--beam-size N] [--scores]\n", stderr);
    return 2;
  }
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  pytransformer_translator* translator = NULL;
  if (pytransformer_open(model, NULL, &translator, &error)) return fail(&error);
  const int failed = translate(translator, &options, scores);
  pytransformer_close(translator);
  return failed;
}
