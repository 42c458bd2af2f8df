// Where the time of a team goes: a clock that the master switches from stage to stage.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace pytransformer::nn {

// `encoder` and `decoder` are what those stacks do beside attention: products, norms, embedding.
enum class Stage : size_t { encoder, decoder, attention, output, search };
inline constexpr size_t kStages = 5;

using StageSeconds = std::array<double, kStages>;

// Stands still, at no cost, until it is started.
class StageClock {
 public:
  // Counts from now on, or not; the time until now belongs to no stage.
  void start(bool running) {
    running_ = running;
    if (running_) since_ = Clock::now();
  }

  // What follows belongs to `stage`. Returns the stage before.
  Stage enter(Stage stage) {
    const Stage before = stage_;
    if (running_) count();
    stage_ = stage;
    return before;
  }

  // The seconds of each stage since the last call.
  StageSeconds take() {
    if (running_) count();
    const StageSeconds taken = seconds_;
    seconds_ = {};
    return taken;
  }

 private:
  using Clock = std::chrono::steady_clock;

  void count() {
    const Clock::time_point now = Clock::now();
    seconds_[static_cast<size_t>(stage_)] += std::chrono::duration<double>(now - since_).count();
    since_ = now;
  }

  bool running_ = false;
  Stage stage_ = Stage::search;
  Clock::time_point since_;
  StageSeconds seconds_ = {};
};

}  // namespace pytransformer::nn
