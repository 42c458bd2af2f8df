/* Eight threads that share one model, each with its own mixture of calls: argv[2] is how many
 * threads a worker has. Their translations are those that one thread gets alone. */
#include <pthread.h>

#include "guest.h"

enum { THREADS = 8, ROUNDS = 6, LINES = 12, BEAMS = 2 };

static const char *const kLines[LINES] = {
    "Ein Hund läuft durch den Schnee.",
    "",
    "Wie geht es dir?",
    "Zwei Männer sitzen auf einer Bank vor einem alten Haus.",
    "Drei Leute stehen an einer Straße und warten auf den Bus, während es stark regnet.",
    "Tom wohnt in Boston.",
    "Ein schwarz-weißer Hund trägt einen Stock im Maul.",
    "Ich habe keine Zeit.",
    "Mehrere Radfahrer fahren bei einem Rennen einen Berg hinauf.",
    "Wo ist der Bahnhof?",
    "Eine ältere Frau verkauft Obst und Gemüse auf dem Markt.",
    "Sie hat gestern ein neues Buch gekauft.",
};

static pytransformer_translator *translator;
static char expected[BEAMS][LINES][1024];
static float scores[BEAMS][LINES];

static int collect(void *context, size_t text, const char *piece, size_t length) {
  (void)text;
  strncat(context, piece, length);
  return 0;
}

static int cancel(void *context, size_t text, const char *piece, size_t length) {
  (void)context, (void)text, (void)piece, (void)length;
  return 1;
}

static pytransformer_options options_of(int wide) {
  pytransformer_options options;
  pytransformer_options_init(&options, sizeof options);
  options.beam_size = wide ? 4 : 1;
  options.return_scores = 1;
  options.tgt_lang = "en";
  return options;
}

/* Lines from `begin` on; NULL if the call ended with an error, which `error` then tells. */
static pytransformer_result *run(size_t begin, size_t count, const pytransformer_options *options,
                                 pytransformer_error *error) {
  pytransformer_text texts[LINES];
  pytransformer_result *result = NULL;
  for (size_t i = 0; i < count; ++i) {
    texts[i].data = kLines[(begin + i) % LINES];
    texts[i].length = SIZE_MAX;
  }
  pytransformer_translate_texts(translator, texts, count, options, &result, error);
  return result;
}

static void compare(size_t begin, size_t count, int wide) {
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  const pytransformer_options options = options_of(wide);
  pytransformer_result *result = run(begin, count, &options, &error);
  CHECK(result != NULL, "%s", error.message);
  for (size_t i = 0; i < count; ++i) {
    pytransformer_hypothesis best;
    const size_t line = (begin + i) % LINES;
    pytransformer_hypothesis_init(&best, sizeof best);
    pytransformer_result_get(result, i, 0, &best, &error);
    CHECK(strcmp(best.text.data, expected[wide][line]) == 0, "%s", best.text.data);
    CHECK(best.score == scores[wide][line], "%a", (double)best.score);
  }
  pytransformer_result_free(result);
}

static void stream(size_t line) {
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  pytransformer_options options = options_of(0);
  char pieces[1024] = "";
  options.on_text = collect;
  options.context = pieces;
  pytransformer_result_free(run(line, 1, &options, &error));
  CHECK(error.status == PYTRANSFORMER_OK, "%s", error.message);
  CHECK(strcmp(pieces, expected[0][line]) == 0, "%s", pieces);
}

static void fail(void) {
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  pytransformer_options options = options_of(1);
  options.on_text = cancel;
  CHECK(run(3, 4, &options, &error) == NULL, "nobody has cancelled");
  CHECK(error.status == PYTRANSFORMER_ERROR_CANCELLED, "%s", error.message);
  options.beam_size = -1;
  CHECK(run(0, 1, &options, &error) == NULL, "a beam of -1");
  CHECK(error.status == PYTRANSFORMER_ERROR_OPTION, "%s", error.message);
}

static void look(void) {
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  pytransformer_info info = PYTRANSFORMER_INFO_INIT;
  const pytransformer_text line = {kGerman, SIZE_MAX};
  int32_t ids[64];
  char text[256];
  size_t count = 0, length = 0;
  pytransformer_get_info(translator, &info, &error);
  pytransformer_encode(translator, line, NULL, "en", ids, 64, &count, &error);
  const pytransformer_ids view = {ids, count};
  pytransformer_decode(translator, view, text, sizeof text, &length, &error);
  CHECK(error.status == PYTRANSFORMER_OK && count > 0 && length > 0, "%s", error.message);
}

static void *work(void *argument) {
  const size_t thread = (size_t)argument;
  for (size_t round = 0; round < ROUNDS; ++round) {
    const size_t step = thread + round;
    compare(5 * step % LINES, 1 + step % LINES, (int)(step % 2));
    if (step % 3 == 0) stream(step % LINES);
    if (step % 4 == 0) fail();
    look();
  }
  return NULL;
}

int main(int argc, char **argv) {
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  pthread_t callers[THREADS];
  CHECK(argc == 3, "the model, and threads of a worker");
  translator = open_model(argv[1], 2, atoi(argv[2]));
  for (int wide = 0; wide < BEAMS; ++wide) {
    const pytransformer_options options = options_of(wide);
    for (size_t i = 0; i < LINES; ++i) {
      pytransformer_hypothesis best;
      pytransformer_result *result = run(i, 1, &options, &error);
      pytransformer_hypothesis_init(&best, sizeof best);
      CHECK(result != NULL, "%s", error.message);
      pytransformer_result_get(result, 0, 0, &best, &error);
      strcpy(expected[wide][i], best.text.data);
      scores[wide][i] = best.score;
      pytransformer_result_free(result);
    }
  }
  /* The threads' first calls start the workers, if they can. */
  pytransformer_close(translator);
  translator = open_model(argv[1], 2, atoi(argv[2]));
  for (size_t i = 0; i < THREADS; ++i) pthread_create(&callers[i], NULL, work, (void *)i);
  for (size_t i = 0; i < THREADS; ++i) pthread_join(callers[i], NULL);
  pytransformer_close(translator);
  return 0;
}
