#include "decode/task.h"

#include "decode/scoring.h"
#include "decode/search.h"

namespace pytransformer::decode {

std::unique_ptr<Task> make_task(const TaskSetting& setting) {
  if (setting.options.score_targets) return std::make_unique<Scoring>(setting);
  return std::make_unique<Search>(setting);
}

}  // namespace pytransformer::decode
