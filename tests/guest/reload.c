/* The library loaded, used and unloaded a hundred times: argv[2] is its path. It leaves the process,
 * and nothing grows. */
#include <dlfcn.h>

#include "guest.h"

enum { WARM_UP = 10, TIMES = 100 };

struct usage {
  long resident; /* pages */
  int mappings;
  int threads;
  int files;
  int libraries; /* mappings of the library */
};

static struct usage use(void) {
  struct usage usage = {0};
  long size;
  FILE *pages = fopen("/proc/self/statm", "r");
  CHECK(fscanf(pages, "%ld %ld", &size, &usage.resident) == 2, "no pages");
  fclose(pages);
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[8192];
  while (fgets(line, sizeof line, maps) != NULL) {
    ++usage.mappings;
    if (strstr(line, "libpytransformer") != NULL) ++usage.libraries;
  }
  fclose(maps);
  usage.threads = settled_threads(1);
  usage.files = entries("/proc/self/fd");
  return usage;
}

#define LOOK_UP(name) __typeof__(&pytransformer_##name) name = dlsym(library, "pytransformer_" #name)

static void visit(const char *model, const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  CHECK(library != NULL, "%s", dlerror());
  LOOK_UP(open);
  LOOK_UP(translate_texts);
  LOOK_UP(result_text);
  LOOK_UP(result_free);
  LOOK_UP(close);
  pytransformer_settings settings = PYTRANSFORMER_SETTINGS_INIT;
  pytransformer_error error = PYTRANSFORMER_ERROR_INIT;
  pytransformer_translator *translator = NULL;
  pytransformer_result *result = NULL;
  const pytransformer_text text = {kGerman, SIZE_MAX};
  settings.intra_threads = 2;
  CHECK(open(model, &settings, &translator, &error) == PYTRANSFORMER_OK, "%s", error.message);
  CHECK(translate_texts(translator, &text, 1, NULL, &result, &error) == PYTRANSFORMER_OK, "%s",
        error.message);
  CHECK(strcmp(result_text(result, 0), kEnglish) == 0, "%s", result_text(result, 0));
  result_free(result);
  /* An exception has been thrown, so that the unwinder knows of the library too. */
  CHECK(open("/no/such/file", NULL, &(pytransformer_translator *){NULL}, &error), "opened");
  close(translator);
  CHECK(dlclose(library) == 0, "%s", dlerror());
}

int main(int argc, char **argv) {
  CHECK(argc == 3, "the model and the library");
  struct usage before = {0};
  for (int i = 0; i < TIMES; ++i) {
    visit(argv[1], argv[2]);
    const struct usage now = use();
    CHECK(now.libraries == 0, "the library is still there");
    CHECK(now.threads == 1, "%d threads", now.threads);
    if (i < WARM_UP) {
      before = now;
      continue;
    }
    CHECK(now.files == before.files, "%d files, %d before", now.files, before.files);
    CHECK(now.mappings <= before.mappings + 2, "%d mappings, %d before", now.mappings,
          before.mappings);
    /* A leak of the library's own data would take several pages each time. */
    CHECK(now.resident <= before.resident + 64, "%ld pages, %ld before", now.resident,
          before.resident);
  }
  return 0;
}
