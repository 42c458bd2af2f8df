/* max_memory: an error that says what would need less, and after it everything goes on. */
#include "guest.h"

static pytransformer_status run(const char *model, uint64_t most, const char *text,
                                pytransformer_error *error) {
  pytransformer_settings settings = PYTRANSFORMER_SETTINGS_INIT;
  pytransformer_translator *translator = NULL;
  pytransformer_result *result = NULL;
  const pytransformer_text texts[] = {{text, SIZE_MAX}};
  settings.intra_threads = 1;
  settings.max_memory = most;
  pytransformer_status status = pytransformer_open(model, &settings, &translator, error);
  if (status != PYTRANSFORMER_OK) return status;
  status = pytransformer_translate_texts(translator, texts, 1, NULL, &result, error);
  CHECK((status == PYTRANSFORMER_OK) == (result != NULL), "neither a result nor an error");
  pytransformer_result_free(result);
  pytransformer_close(translator);
  return status;
}

int main(int argc, char **argv) {
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  CHECK(argc == 2, "the model");
  CHECK(run(argv[1], 1 << 20, kGerman, &error) == PYTRANSFORMER_ERROR_MEMORY, "it sufficed");
  puts(error.message);
  error.status = PYTRANSFORMER_OK;
  CHECK(run(argv[1], 1 << 30, kGerman, &error) == PYTRANSFORMER_OK, "%s", error.message);
  CHECK(run(argv[1], UINT64_MAX, kGerman, &error) == PYTRANSFORMER_OK, "%s", error.message);
  return 0;
}
