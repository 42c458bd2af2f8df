#include "embed/fault.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "decode/job.h"
#include "decode/memory.h"
#include "io/native_file.h"
#include "text/errors.h"

namespace pytransformer::embed {
namespace {

bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

}  // namespace

pytransformer_status report(pytransformer_error* error, pytransformer_status status,
                            std::string_view message) noexcept {
  // A struct that is too small for a message is nothing that this header ever declared.
  if (error == nullptr || error->size < sizeof(pytransformer_error)) return status;
  size_t length = std::min(message.size(), sizeof error->message - 1);
  if (length < message.size()) {
    while (length > 0 && continues_character(message[length])) --length;
  }
  std::memcpy(error->message, message.data(), length);
  error->message[length] = '\0';
  error->status = status;
  return status;
}

pytransformer_status report_current(pytransformer_error* error) noexcept {
  try {
    throw;
  } catch (const Fault& e) {
    return report(error, e.status(), e.what());
  } catch (const text::UnsupportedError& e) {
    return report(error, PYTRANSFORMER_ERROR_UNSUPPORTED, e.what());
  } catch (const text::CheckpointError& e) {
    return report(error, PYTRANSFORMER_ERROR_CHECKPOINT, e.what());
  } catch (const io::FormatError& e) {
    return report(error, PYTRANSFORMER_ERROR_CHECKPOINT, e.what());
  } catch (const text::OptionError& e) {
    return report(error, PYTRANSFORMER_ERROR_OPTION, e.what());
  } catch (const std::invalid_argument& e) {
    return report(error, PYTRANSFORMER_ERROR_OPTION, e.what());
  } catch (const std::domain_error& e) {
    return report(error, PYTRANSFORMER_ERROR_DECODING, e.what());
  } catch (const decode::Cancelled& e) {
    return report(error, PYTRANSFORMER_ERROR_CANCELLED, e.what());
  } catch (const decode::MemoryLimitError& e) {
    return report(error, PYTRANSFORMER_ERROR_MEMORY, e.what());
  } catch (const std::bad_alloc&) {
    return report(error, PYTRANSFORMER_ERROR_MEMORY, "the system has no more memory");
  } catch (const std::exception& e) {
    return report(error, PYTRANSFORMER_ERROR_INTERNAL, e.what());
  } catch (...) {
    return report(error, PYTRANSFORMER_ERROR_INTERNAL, "an unknown exception");
  }
}

}  // namespace pytransformer::embed
