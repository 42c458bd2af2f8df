/* Counts what a process has allocated; to be loaded before the C library (LD_PRELOAD). */
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>

void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* block, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
void __libc_free(void* block);

static atomic_long live, peak;

static void* count(void* block) {
  if (block != NULL) {
    const long size = (long)malloc_usable_size(block);
    const long now = atomic_fetch_add(&live, size) + size;
    long most = atomic_load(&peak);
    while (now > most && !atomic_compare_exchange_weak(&peak, &most, now)) {
    }
  }
  return block;
}

static void forget(void* block) {
  if (block != NULL) atomic_fetch_sub(&live, (long)malloc_usable_size(block));
}

/* Bytes in use; and the most since the last call of heap_begin, which returns those in use. */
long heap_live(void) { return atomic_load(&live); }
long heap_peak(void) { return atomic_load(&peak); }
long heap_begin(void) {
  const long now = atomic_load(&live);
  atomic_store(&peak, now);
  return now;
}

void* malloc(size_t size) { return count(__libc_malloc(size)); }
void* calloc(size_t number, size_t size) { return count(__libc_calloc(number, size)); }
void* memalign(size_t alignment, size_t size) { return count(__libc_memalign(alignment, size)); }
void* aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void** block, size_t alignment, size_t size) {
  *block = memalign(alignment, size);
  return *block == NULL ? ENOMEM : 0;
}

void* realloc(void* block, size_t size) {
  forget(block);
  void* const moved = __libc_realloc(block, size);
  if (moved == NULL && size != 0) return count(block), NULL;
  return count(moved);
}

void free(void* block) {
  forget(block);
  __libc_free(block);
}
