#include "decode/batch.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <utility>

namespace pytransformer::decode {
namespace {

using kernels::padded;

// At least as many rows as a task reads in its first step.
int64_t first_rows(const Request& request, const nn::ModelSpec& model) {
  const int64_t start = model.has_encoder() ? 1 : request.length();
  return start + static_cast<int64_t>(request.target.size());
}

// The first `columns` numbers of each row.
std::vector<float> without_padding(nn::Rows from, int64_t first, int64_t rows, int64_t columns) {
  std::vector<float> to(static_cast<size_t>(rows * columns));
  for (int64_t i = 0; i < rows; ++i) {
    std::copy_n(from.row(first + i), columns, to.begin() + i * columns);
  }
  return to;
}

}  // namespace

int64_t Batch::source_tokens() const {
  int64_t tokens = 0;
  for (const auto& active : active_) tokens += active->ticket.request().length();
  return tokens;
}

Load Batch::load() const {
  Load load;
  for (const auto& active : active_) load.add(active->ticket.need);
  return load;
}

void Batch::admit(std::vector<Ticket> tickets) {
  size_t begin = 0;
  while (begin < tickets.size()) {
    size_t end = begin + 1;
    int64_t rows = tickets[begin].request().length();
    while (end < tickets.size() && tickets[end].only_encodes() == tickets[begin].only_encodes() &&
           rows + tickets[end].request().length() <= kEncoderRows) {
      rows += tickets[end++].request().length();
    }
    const auto group = std::span(tickets).subspan(begin, end - begin);
    if (group.front().only_encodes()) {
      finish_encoding(group);
    } else {
      start(group);
    }
    begin = end;
  }
  // Those that share an output layer stand together, so that it is read once.
  std::stable_sort(active_.begin(), active_.end(), [](const auto& a, const auto& b) {
    return std::less<>()(a->shortlist.get(), b->shortlist.get());
  });
}

void Batch::start(std::span<Ticket> group) {
  const nn::StackSpec& decoder = model_.spec().decoder;
  const kernels::CacheType type = nn::cache_type(model_.compute_type());
  std::vector<std::unique_ptr<nn::CrossCache>> caches(group.size());
  if (model_.spec().has_encoder()) {
    std::vector<nn::CrossCache*> pointers;
    for (size_t i = 0; i < group.size(); ++i) {
      const int64_t length = group[i].request().length();
      caches[i] = std::make_unique<nn::CrossCache>(decoder, type, length);
      pointers.push_back(caches[i].get());
    }
    encode(group);
    encoder_.fill(pointers);
  }
  for (size_t i = 0; i < group.size(); ++i) {
    const Request& request = group[i].request();
    auto task = make_task({group[i].job->options(), request, model_.spec(), type, kernels_});
    active_.push_back(std::make_unique<Active>(
        Active{std::move(group[i]), std::move(caches[i]), shortlist(request), std::move(task)}));
  }
}

nn::Rows Batch::encode(std::span<const Ticket> group) {
  ++profile_.encoder_passes;
  for (const Ticket& ticket : group) {
    const int64_t length = ticket.request().length();
    profile_.encoder_rows += length;
    profile_.encoder_attention_pairs += length * length;
  }
  if (model_.spec().encoder.vector_size > 0) return encode_vectors(group);
  std::vector<std::span<const int32_t>> sources;
  std::vector<int32_t> segments;
  for (const Ticket& ticket : group) {
    const Request& request = ticket.request();
    sources.emplace_back(request.source);
    segments.insert(segments.end(), request.segments.begin(), request.segments.end());
    if (request.segments.empty()) segments.insert(segments.end(), request.source.size(), 0);
  }
  return encoder_.run(sources, segments);
}

nn::Rows Batch::encode_vectors(std::span<const Ticket> group) {
  const int64_t size = model_.spec().encoder.vector_size;
  const int64_t stride = padded(size);
  std::vector<int64_t> lengths;
  int64_t rows = 0;
  for (const Ticket& ticket : group) {
    lengths.push_back(ticket.request().num_vectors);
    rows += ticket.request().num_vectors;
  }
  float* to = vectors_.need(rows * stride);
  const nn::Rows vectors = {to, stride};
  for (const Ticket& ticket : group) {
    const std::vector<float>& given = ticket.request().vectors;
    for (auto from = given.begin(); from != given.end(); from += size, to += stride) {
      std::fill(std::copy_n(from, size, to), to + stride, 0.0f);
    }
  }
  return encoder_.run(vectors, lengths);
}

// Encodes a group, and is done with it.
void Batch::finish_encoding(std::span<Ticket> group) {
  if (std::ranges::all_of(group, [](const Ticket& t) { return t.job->cancelled(); })) return;
  const nn::ModelSpec& spec = model_.spec();
  std::vector<int64_t> lengths;
  for (const Ticket& ticket : group) lengths.push_back(ticket.request().length());
  const nn::Rows states = encode(group);
  const nn::EncoderHead::Output head = head_.run(states, lengths);
  int64_t first = 0;
  for (size_t i = 0; i < group.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    // Moved all the way: a list of initial values would copy the states.
    Translation result(1);
    Encoding& encoding = result.front().encoding;
    encoding.rows = static_cast<size_t>(lengths[i]);
    encoding.states = without_padding(states, first, lengths[i], spec.encoder.d_model);
    first += lengths[i];
    if (!std::ranges::all_of(encoding.states, [](float x) { return std::isfinite(x); })) {
      const std::domain_error error("the model's output is not finite");
      group[i].job->fail(std::make_exception_ptr(error));
      group[i].job->cancel();
      continue;
    }
    if (head.pooled.data != nullptr) {
      encoding.pooled = without_padding(head.pooled, row, 1, spec.head->pooler_size);
    }
    if (head.logits.data != nullptr) {
      encoding.logits = without_padding(head.logits, row, 1, spec.head->labels);
    }
    finished_.push_back({std::move(group[i]), std::move(result)});
  }
}

// Sentences with the same list of tokens share the output layer made for it.
std::shared_ptr<const nn::Shortlist> Batch::shortlist(const Request& request) const {
  if (request.allowed == nullptr) return nullptr;
  for (const auto& active : active_) {
    if (active->ticket.request().allowed == request.allowed) return active->shortlist;
  }
  return std::make_shared<const nn::Shortlist>(model_.output(), *request.allowed);
}

// Long prompts begin one after another, so that the memory of a step has a bound.
void Batch::choose() {
  stepping_.clear();
  int64_t starting = 0;
  for (const auto& active : active_) {
    if (!active->started) {
      const int64_t rows = first_rows(active->ticket.request(), model_.spec());
      if (starting > 0 && starting + rows > kFirstRows) continue;
      starting += rows;
      active->started = true;
    }
    stepping_.push_back(active.get());
  }
}

void Batch::gather() {
  rows_.clear();
  sentences_.clear();
  output_.num_candidates = 1;
  output_.want_log_sum = false;
  for (const Active* const active : stepping_) {
    const auto first = static_cast<int64_t>(rows_.size());
    Task& task = *active->task;
    task.append_rows(rows_);
    const int64_t rows = static_cast<int64_t>(rows_.size()) - first;
    sentences_.push_back({active->cross.get(), &task.cache(), first, rows, active->shortlist.get(),
                          task.attention()});
    const int64_t keys = active->cross == nullptr ? 0 : active->cross->source_length();
    profile_.cross_attention_keys += keys * rows;
    profile_.cross_attention_sentence_keys += keys;
    output_.num_candidates = std::max(output_.num_candidates, task.candidates_needed());
    output_.want_log_sum = output_.want_log_sum || task.needs_log_sum();
  }
}

// What the rows of this step add to the profile.
void Batch::count() {
  ++profile_.steps;
  profile_.step_rows += static_cast<int64_t>(rows_.size());
  for (const nn::StepRow& row : rows_) profile_.self_attention_keys += row.position + 1;
}

// Ends what callers no longer want: whole jobs, or single sentences where they are. There are also
// tasks that have nothing to do.
void Batch::stop_and_drop() {
  for (const auto& active : active_) {
    if (active->ticket.job->cancelled()) continue;
    const int32_t tokens = active->ticket.job->stops_after(active->ticket.index);
    if (tokens >= 0) active->task->stop(tokens);
    if (active->task->done()) conclude(*active);
  }
  drop();
}

void Batch::drop() {
  std::erase_if(active_, [](const auto& active) {
    return active->task->done() || active->ticket.job->cancelled();
  });
}

// Tells of what became certain, and takes the result if there is one. A sentence that fails fails
// its job; the others go on.
void Batch::conclude(Active& active) {
  try {
    if (active.ticket.job->options().stream) tell(active);
    if (active.task->done()) finished_.push_back({active.ticket, active.task->take_result()});
  } catch (...) {
    fail(active);
  }
}

void Batch::fail(const Active& active) {
  active.ticket.job->fail(std::current_exception());
  active.ticket.job->cancel();
}

void Batch::step() {
  stop_and_drop();
  if (active_.empty()) return;
  choose();
  gather();
  count();
  decoder_.step(rows_, sentences_, output_);
  advance();
}

void Batch::advance() {
  for (size_t i = 0; i < stepping_.size(); ++i) {
    Active& active = *stepping_[i];
    const auto first = static_cast<size_t>(sentences_[i].first_row);
    const auto count = static_cast<size_t>(sentences_[i].rows);
    try {
      active.task->advance(std::span(output_.candidates).subspan(first, count),
                           std::span(output_.log_sum).subspan(first, count));
    } catch (...) {
      fail(active);
      continue;
    }
    conclude(active);
  }
  drop();
}

void Batch::tell(const Active& active) {
  std::vector<TokenEvent> events = active.task->take_events();
  if (active.task->done()) events.push_back({0, 0, -1, 0.0f, true});
  for (TokenEvent& event : events) event.sentence = active.ticket.index;
  if (!events.empty()) active.ticket.job->tell(std::move(events));
}

void Batch::deliver() {
  for (Finished& done : finished_) {
    done.ticket.job->deliver(done.ticket.index, std::move(done.translation));
  }
  finished_.clear();
}

void Batch::fail(const std::exception_ptr& error) {
  for (const auto& active : active_) active->ticket.job->fail(error);
  active_.clear();
}

}  // namespace pytransformer::decode
