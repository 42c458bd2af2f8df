#include "nn/positions.h"

#include <algorithm>
#include <cmath>

namespace pytransformer::nn {
namespace {

// Rows between two exact evaluations. Between them a rotation by one position's angle carries sine
// and cosine on, in double precision: its error stays below 1e-13, far under float32's resolution,
// and it costs two multiplications where sin() costs a call.
constexpr int64_t kExactEvery = 64;

}  // namespace

std::vector<float> sinusoidal_table(const StackSpec& spec) {
  const PositionSpec& positions = spec.positions;
  const bool interleaved = positions.kind == PositionKind::sinusoidal_interleaved;
  const int64_t d_model = spec.d_model;
  const int64_t width = spec.width();
  const bool from_tensor2tensor = positions.kind == PositionKind::sinusoidal_tensor2tensor;
  // Where d_model is odd, the last column has a sine; Tensor2Tensor leaves it zero.
  const int64_t sines = from_tensor2tensor ? d_model / 2 : (d_model + 1) / 2;
  std::vector<float> table(static_cast<size_t>(positions.max_length * width));
  for (int64_t i = 0; i < sines; ++i) {
    const double exponent =
        from_tensor2tensor
            ? static_cast<double>(i) / static_cast<double>(std::max<int64_t>(sines - 1, 1))
            : 2.0 * static_cast<double>(i) / static_cast<double>(d_model);
    const double frequency = std::pow(10000.0, -exponent);
    const int64_t sine_column = interleaved ? 2 * i : i;
    const int64_t cosine_column = interleaved ? 2 * i + 1 : sines + i;
    const double sine_step = std::sin(frequency);
    const double cosine_step = std::cos(frequency);
    double sine = 0;
    double cosine = 0;
    for (int64_t p = 0; p < positions.max_length; ++p) {
      if (p % kExactEvery == 0) {
        const double angle = static_cast<double>(p + positions.offset) * frequency;
        sine = std::sin(angle);
        cosine = std::cos(angle);
      } else {
        const double next = sine * cosine_step + cosine * sine_step;
        cosine = cosine * cosine_step - sine * sine_step;
        sine = next;
      }
      float* const row = table.data() + p * width;
      row[sine_column] = static_cast<float>(sine);
      if (cosine_column < d_model) row[cosine_column] = static_cast<float>(cosine);
    }
  }
  return table;
}

}  // namespace pytransformer::nn
