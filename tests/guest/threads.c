/* There are no threads before the first translation, and none after closing. */
#include "guest.h"

int main(int argc, char **argv) {
  CHECK(argc == 2, "the model");
  for (int inter = 1; inter <= 3; ++inter) {
    for (int intra = 1; intra <= 3; ++intra) {
      pytransformer_translator *translator = open_model(argv[1], inter, intra);
      CHECK(threads() == 1, "%d after opening", threads());
      translate(translator);
      /* The team of a worker comes when the worker first has work; here one has had some. */
      const int now = threads();
      CHECK(now >= 1 + inter, "%d with %d workers of %d threads", now, inter, intra);
      CHECK(now <= 1 + inter * intra, "%d with %d workers of %d threads", now, inter, intra);
      pytransformer_close(translator);
      CHECK(settled_threads(1) == 1, "%d after closing", threads());
    }
  }
  return 0;
}
