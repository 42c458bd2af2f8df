/* Linked with a program under the thread sanitizer: says to it what OpenMP promises, that all which
 * came before a region is seen in it, and all of the region behind it. The sanitizer cannot see how
 * libgomp keeps that, since libgomp is not built for it. Nothing is suppressed. */
#define _GNU_SOURCE
#include <dlfcn.h>

void __tsan_acquire(void *address);
void __tsan_release(void *address);

typedef void body(void *data);
typedef void parallel(body *f, void *data, unsigned threads, unsigned flags);

struct region {
  body *f;
  void *data;
};

static void run(void *argument) {
  struct region *region = argument;
  __tsan_acquire(region);
  region->f(region->data);
  __tsan_release(region);
}

/* In the place of libgomp's, which it calls. */
void GOMP_parallel(body *f, void *data, unsigned threads, unsigned flags) {
  struct region region = {f, data};
  parallel *const real = (parallel *)dlsym(RTLD_NEXT, "GOMP_parallel");
  __tsan_release(&region);
  real(run, &region, threads, flags);
  __tsan_acquire(&region);
}
