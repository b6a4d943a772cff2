#include "diffract/jobs/job_board.h"

#include <c10/util/Exception.h>

#include <filesystem>
#include <new>

namespace diffract::jobs {

Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return {error.kind(), error.what()};
  } catch (const std::bad_alloc&) {
    return {ErrorKind::memory, "out of memory"};
  } catch (const c10::Error& error) {
    return {ErrorKind::internal, fmt::format("libtorch: {}", error.what_without_backtrace())};
  } catch (const std::filesystem::filesystem_error& error) {
    return {ErrorKind::io, error.what()};
  } catch (const std::exception& error) {
    return {ErrorKind::internal, error.what()};
  }
}

Json to_json(const Failure& failure) {
  return {{"kind", static_cast<int>(failure.kind)}, {"message", failure.message}};
}

Failure failure_of(const Json& json) {
  const ConfigReader reader(json, "a failure in the job's store");
  return {static_cast<ErrorKind>(reader.integer("kind", 0, static_cast<int>(ErrorKind::internal))),
          reader.text("message")};
}

void LocalBoard::report(size_t batch, const std::string& result, size_t images) {
  results_[batch] = result;
  images_ += images;
}

std::optional<std::string> LocalBoard::reported(size_t batch) {
  const auto found = results_.find(batch);
  return found == results_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace diffract::jobs
