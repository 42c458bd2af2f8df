/* All kinds of success and failure, none of which may print. */
#include "guest.h"

static int stop(void *context, size_t text, const char *piece, size_t length) {
  (void)context, (void)text, (void)piece, (void)length;
  return 1;
}

static void expect(int status, int expected, const pytransformer_error *error) {
  CHECK(status == expected, "%d, not %d: %s", status, expected, error->message);
  CHECK(status == PYTRANSFORMER_OK || (error->status == status && error->message[0]), "nothing said");
}

int main(int argc, char **argv) {
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  pytransformer_translator *none = NULL;
  pytransformer_result *result = NULL;
  pytransformer_options options;
  const pytransformer_text text = {kGerman, SIZE_MAX};
  const int32_t wild[] = {1, 2, INT32_MAX, -5};
  const pytransformer_ids ids = {wild, 4};
  CHECK(argc == 2, "the model");

  expect(pytransformer_open("/no/such/file", NULL, &none, &error), PYTRANSFORMER_ERROR_FILE, &error);
  expect(pytransformer_open(argv[0], NULL, &none, &error), PYTRANSFORMER_ERROR_CHECKPOINT, &error);
  expect(pytransformer_open(NULL, NULL, &none, &error), PYTRANSFORMER_ERROR_ARGUMENT, &error);
  CHECK(none == NULL, "something came of errors");

  pytransformer_translator *translator = open_model(argv[1], 1, 2);
  translate(translator);
  pytransformer_options_init(&options, sizeof options);
  options.tgt_lang = "xx";
  expect(pytransformer_translate_texts(translator, &text, 1, &options, &result, &error),
         PYTRANSFORMER_ERROR_OPTION, &error);
  options.tgt_lang = NULL;
  options.beam_size = -1;
  expect(pytransformer_translate_texts(translator, &text, 1, &options, &result, &error),
         PYTRANSFORMER_ERROR_OPTION, &error);
  options.beam_size = 4;
  options.on_text = stop;
  expect(pytransformer_translate_texts(translator, &text, 1, &options, &result, &error),
         PYTRANSFORMER_ERROR_CANCELLED, &error);
  expect(pytransformer_translate_ids(translator, &ids, NULL, 1, NULL, &result, &error),
         PYTRANSFORMER_ERROR_OPTION, &error);
  expect(pytransformer_translate_ids(translator, NULL, NULL, 1, NULL, &result, &error),
         PYTRANSFORMER_ERROR_ARGUMENT, &error);
  expect(pytransformer_translate_texts(translator, NULL, 0, NULL, &result, &error),
         PYTRANSFORMER_OK, &error);
  pytransformer_result_free(result);
  translate(translator);
  pytransformer_close(translator);
  return 0;
}
