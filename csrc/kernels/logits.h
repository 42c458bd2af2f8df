// The reduction of a tile of logits to its best candidates and its share of the softmax's sum.
#pragma once

#include "kernels/softmax.h"

namespace pytransformer::kernels {
namespace {

// Whether a stands before b: higher logit first, then lower id. NaN stands before every number, so
// that whoever looks at the best candidate alone sees that the logits cannot be trusted.
inline bool before(float a, int32_t a_id, float b, int32_t b_id) {
  const bool a_is_nan = a != a;
  const bool b_is_nan = b != b;
  if (a_is_nan != b_is_nan) return a_is_nan;
  return a > b || (!(a < b) && a_id < b_id);
}

inline void enter(TopK& top, float logit, int32_t id) {
  if (top.capacity == 0) return;
  if (top.count == top.capacity) {
    const int32_t last = top.count - 1;
    if (!before(logit, id, top.logits[last], top.ids[last])) return;
    --top.count;
  }
  int32_t place = top.count++;
  for (; place > 0 && before(logit, id, top.logits[place - 1], top.ids[place - 1]); --place) {
    top.logits[place] = top.logits[place - 1];
    top.ids[place] = top.ids[place - 1];
  }
  top.logits[place] = logit;
  top.ids[place] = id;
}

// What a logit must reach to be worth a look.
inline F32x16 threshold(const TopK& top) {
  return broadcast(top.count < top.capacity ? -kInfinity : top.logits[top.count - 1]);
}

// Enters the lanes of x that `candidates` names; returns the new bar.
[[gnu::noinline]] F32x16 enter_all(TopK& top, const float* logits, uint32_t candidates,
                                   int32_t first_id) {
  for (; candidates != 0; candidates &= candidates - 1) {
    const int place = __builtin_ctz(candidates);
    enter(top, logits[place], first_id + place);
  }
  return threshold(top);
}

// Enters what is good enough into `top` and returns the largest logit, NaN left aside.
inline float reduce_top(const float* logits, int64_t count, int32_t first_id, TopK& top) {
  F32x16 bar = threshold(top);
  F32x16 largest = broadcast(-kInfinity);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const F32x16 x = load(logits + i);
    largest = max(x, largest);
    const uint32_t candidates = bits(not_less(x, bar));
    if (__builtin_expect(candidates != 0, 0)) {
      bar = enter_all(top, logits + i, candidates, first_id + static_cast<int32_t>(i));
    }
  }
  if (i < count) {
    const F32x16 x = load_columns(logits, i, count, -kInfinity);
    largest = max(x, largest);
    const uint32_t candidates = bits(not_less(x, bar)) & ((1u << (count - i)) - 1u);
    enter_all(top, logits + i, candidates, first_id + static_cast<int32_t>(i));
  }
  return maximum(largest);
}

void merge_top(const TopK& from, TopK* into) {
  for (int32_t i = 0; i < from.count; ++i) enter(*into, from.logits[i], from.ids[i]);
}

inline float largest_logit(const float* logits, int64_t count) {
  F32x16 largest = broadcast(-kInfinity);
  for (int64_t i = 0; i < count; i += kLanes) {
    largest = max(load_columns(logits, i, count, -kInfinity), largest);
  }
  return maximum(largest);
}

// exp(x) for x <= 0, for sums that hold a one: within 2e-7, and never less than exp(-87). As 2^n
// times 2^f with |f| <= 1/2; the power of two is added to the exponent.
inline F32x16 exp_of_difference(F32x16 x) {
  constexpr float kPower[] = {1.00000012f,   0.693146944f,   0.240221202f,
                              0.0555071309f, 0.00967554096f, 0.00132764713f};
  const F32x16 bounded = max(broadcast(-87.0f), x);
  const F32x16 log2e = broadcast(1.44269504f);
  const F32x16 shift = broadcast(12582912.0f);
  const F32x16 biased = fma(bounded, log2e, shift);
  const F32x16 f = fma(bounded, log2e, shift - biased);
  return from_image(image_of(polynomial(f, kPower)) + shift_left<23>(image_of(biased)));
}

inline float sum_of_exp(const float* logits, int64_t count, float largest) {
  F32x16 total = broadcast(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    total = total + exp_of_difference(load(logits + i) - broadcast(largest));
  }
  if (i < count) {
    const F32x16 rest = load_columns(logits, i, count, largest) - broadcast(largest);
    total = total + select(first_lanes(count - i), exp_of_difference(rest), broadcast(0.0f));
  }
  return sum(total);
}

void reduce_logits(const float* logits, int64_t count, int32_t first_id, float* max, float* sum,
                   TopK* top) {
  const float largest =
      top == nullptr ? largest_logit(logits, count) : reduce_top(logits, count, first_id, *top);
  if (sum == nullptr) return;
  *max = largest;
  // All logits may be forbidden (-infinity); their differences would be NaN.
  *sum = largest == -kInfinity ? 0.0f : sum_of_exp(logits, count, largest);
}

float log_sum_exp(const float* max, const float* sum, int64_t tiles) {
  const float largest = largest_logit(max, tiles);
  if (largest == -kInfinity) return largest;
  F32x16 total = broadcast(0.0f);
  for (int64_t t = 0; t < tiles; t += kLanes) {
    const F32x16 share = exp(load_columns(max, t, tiles, -kInfinity) - broadcast(largest));
    total = fma(load_columns(sum, t, tiles, 0.0f), share, total);
  }
  const float all = kernels::sum(total);
  // Not a positive finite number where a logit was NaN or infinite.
  if (!(all > 0.0f && all < kInfinity)) return all;
  return static_cast<float>(static_cast<double>(largest) + log(static_cast<double>(all)));
}

}  // namespace
}  // namespace pytransformer::kernels
