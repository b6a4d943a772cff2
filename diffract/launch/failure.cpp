#include "diffract/launch/failure.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <limits>

#include "diffract/core/error.h"
#include "diffract/core/file.h"
#include "diffract/core/log.h"

namespace diffract::launch {

std::string WorkerFailure::summary() const {
  if (rank < 0) return fmt::format("host {} {}", host, message);
  return fmt::format("rank {} (local rank {}) on host {}, pid {}, {}", rank, local_rank, host, pid, message);
}

std::string WorkerFailure::report() const {
  std::string text = summary();
  if (!last_lines.empty()) {
    text += "\n  its last lines of stderr:";
    for (size_t begin = 0; begin <= last_lines.size();) {
      const size_t end = std::min(last_lines.find('\n', begin), last_lines.size());
      text += "\n    | " + last_lines.substr(begin, end - begin);
      begin = end + 1;
    }
  }
  if (!error_file.empty()) text += "\n  error file: " + error_file;
  return text;
}

Json WorkerFailure::to_json() const {
  return {{"host", host},
          {"rank", rank},
          {"local_rank", local_rank},
          {"pid", pid},
          {"own_fault", own_fault},
          {"exit_code", exit_code},
          {"message", valid_text(message)},
          {"last_lines", valid_text(last_lines)},
          {"error_file", valid_text(error_file)},
          {"time", time}};
}

WorkerFailure WorkerFailure::from_json(const Json& json, const std::string& source) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const ConfigReader read(json, source);
  return {.host = read.text("host"),
          .rank = static_cast<int>(read.integer("rank", -1, kMost)),
          .local_rank = static_cast<int>(read.integer("local_rank", -1, kMost)),
          .pid = read.integer("pid", 0, kMost),
          .own_fault = read.boolean("own_fault"),
          .exit_code = static_cast<int>(read.integer("exit_code", 1, 255)),
          .message = read.text("message"),
          .last_lines = read.text("last_lines"),
          .error_file = read.text("error_file"),
          .time = read.integer("time", 0, int64_t{1} << 40)};
}

namespace {

std::string error_json(const WorkerFailure& failure) {
  const Json fields = failure.to_json();
  return json_text({{"message",
                     {{"message", failure.summary()},
                      {"errorCode", failure.exit_code},
                      {"extraInfo",
                       {{"py_callstack", fields["last_lines"]},
                        {"timestamp", std::to_string(failure.time)},
                        {"host", failure.host},
                        {"rank", failure.rank},
                        {"local_rank", failure.local_rank},
                        {"pid", failure.pid}}}}}});
}

bool exists(const std::string& file) {
  std::error_code error;
  return !file.empty() && std::filesystem::exists(file, error);
}

void write_whole(const std::string& file, const std::string& text) {
  try {
    AtomicFile out(file);
    out.write(text);
    out.commit();
  } catch (const Error& error) {
    log::warning("launch: no error file: {}", error.what());
  }
}

}  // namespace

void write_error_file(const WorkerFailure& failure) {
  if (!failure.error_file.empty() && !exists(failure.error_file))
    write_whole(failure.error_file, error_json(failure));
}

void pass_on_error_file(const WorkerFailure& failure) {
  const char* own = std::getenv("TORCHELASTIC_ERROR_FILE");
  if (!own || !*own) return;
  std::string text = error_json(failure);
  try {
    // Another machine's file is not here.
    if (exists(failure.error_file)) text = load_text(failure.error_file, 1 << 20);
  } catch (const Error& error) {
    log::debug("launch: {}", error.what());
  }
  write_whole(own, text);
}

}  // namespace diffract::launch
