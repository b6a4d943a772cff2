#include "diffract/distributed/spawn.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <optional>
#include <string_view>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/distributed/environment.h"
#include "diffract/distributed/spawn_supervisor.h"
#include "diffract/distributed/store.h"

namespace diffract::distributed {
namespace {

constexpr const char* kPathVariable =
    "DIFFRACT_SPAWN";  // "0.1/2.0": call 0 as rank 1, in it call 2 as rank 0
constexpr const char* kPipeVariable = "DIFFRACT_SPAWN_PIPE";

struct Turn {
  int call, rank;
};

// Where this process is among the spawn calls: on the way through `target`, or past it.
struct Position {
  std::string path;  // of this process, as in kPathVariable
  std::vector<Turn> target;
  size_t level = 0;
  int calls_at_level = 0;
};

std::optional<Turn> parse_turn(std::string_view text) {
  Turn turn{};
  const char* end = text.data() + text.size();
  const auto call = std::from_chars(text.data(), end, turn.call);
  if (call.ec != std::errc() || call.ptr == end || *call.ptr != '.') return std::nullopt;
  const auto rank = std::from_chars(call.ptr + 1, end, turn.rank);
  if (rank.ec != std::errc() || rank.ptr != end) return std::nullopt;
  return turn;
}

Position& position() {
  static Position* const here = [] {
    auto* made = new Position;
    const char* path = std::getenv(kPathVariable);
    made->path = path ? path : "";
    for (size_t begin = 0; begin < made->path.size();) {
      const size_t end = std::min(made->path.find('/', begin), made->path.size());
      const auto turn = parse_turn(std::string_view(made->path).substr(begin, end - begin));
      if (!turn) throw UsageError("{} is \"{}\"; only spawn sets it", kPathVariable, made->path);
      made->target.push_back(*turn);
      begin = end + 1;
    }
    return made;
  }();
  return *here;
}

SpawnOutcome run(const std::function<void(int)>& fn, int rank) {
  try {
    fn(rank);
    return {.done = true};
  } catch (const Error& error) {
    return {.kind = error.kind(), .message = error.what()};
  } catch (const std::bad_alloc&) {
    return {.kind = ErrorKind::memory, .message = "out of memory"};
  } catch (const c10::Error& error) {
    return {.kind = ErrorKind::internal,
            .message = std::string("libtorch: ") + error.what_without_backtrace()};
  } catch (const std::exception& error) {
    return {.kind = ErrorKind::internal, .message = error.what()};
  } catch (...) {
    return {.kind = ErrorKind::internal, .message = "an exception of unknown type"};
  }
}

// This process's own call: what it was started for.
[[noreturn]] void run_and_exit(const std::function<void(int)>& fn, int rank) {
  const char* number = std::getenv(kPipeVariable);
  const FileDescriptor pipe(number ? std::atoi(number) : -1);
  if (pipe) ::fcntl(pipe.get(), F_SETFD, FD_CLOEXEC);
  const SpawnOutcome outcome = run(fn, rank);
  std::fflush(nullptr);
  const std::string text = outcome.to_text();
  if (!pipe || ::write(pipe.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    log::write(log::Level::error, outcome.message);
  std::exit(outcome.done ? 0 : error_info(outcome.kind).exit_code);
}

std::vector<std::string> own_arguments() {
  std::vector<std::string> arguments;
  const FileDescriptor file(::open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC));
  std::string all;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(file.get(), buffer, sizeof buffer)) > 0;)
    all.append(buffer, static_cast<size_t>(got));
  for (size_t begin = 0; begin < all.size(); begin = all.find('\0', begin) + 1)
    arguments.emplace_back(all.c_str() + begin);
  if (arguments.empty()) throw IoError("spawn: cannot read /proc/self/cmdline");
  return arguments;
}

// Without what a launcher has told this process: the new ones are a world of their own.
Variables environment_for(int nprocs, const Store& store) {
  Variables variables = current_variables();
  const bool master_by_hand = variables.count("MASTER_ADDR") && variables.count("MASTER_PORT") &&
                              !variables.count("RANK") && !variables.count(kStoreVariable);
  if (!master_by_hand) {
    variables["MASTER_ADDR"] = store.endpoint().host;
    variables["MASTER_PORT"] = std::to_string(store.endpoint().port);
    variables[kStoreVariable] = store.endpoint().text();
  }
  variables.erase("TORCHELASTIC_USE_AGENT_STORE");
  variables.erase("TORCHELASTIC_RESTART_COUNT");
  variables["WORLD_SIZE"] = variables["LOCAL_WORLD_SIZE"] = std::to_string(nprocs);
  return variables;
}

SpawnedProgram program_for(int rank, const std::string& path, const std::vector<std::string>& arguments,
                           Variables variables) {
  variables["RANK"] = variables["LOCAL_RANK"] = std::to_string(rank);
  variables[kPathVariable] = path;
  variables.erase(kPipeVariable);
  SpawnedProgram program{.arguments = arguments, .environment = {}};
  for (const auto& [name, value] : variables) program.environment.push_back(name + "=" + value);
  return program;
}

}  // namespace

void SpawnContext::join() const {
  while (!join(std::chrono::hours(1))) {
  }
}

bool SpawnContext::join(std::chrono::milliseconds timeout) const {
  if (!supervisor_) return true;
  if (!supervisor_->wait(timeout)) return false;
  supervisor_->rethrow();
  return true;
}

std::vector<int> SpawnContext::pids() const { return supervisor_ ? supervisor_->pids() : std::vector<int>(); }

SpawnContext spawn(const std::function<void(int rank)>& fn, int nprocs, bool join) {
  if (nprocs < 1) throw UsageError("spawn: {} processes; expected at least 1", nprocs);
  Position& here = position();
  const int call = here.calls_at_level++;
  if (here.level < here.target.size()) {
    const Turn turn = here.target[here.level];
    if (call < turn.call) return SpawnContext();
    ++here.level;
    here.calls_at_level = 0;
    if (here.level == here.target.size()) run_and_exit(fn, turn.rank);
    fn(turn.rank);  // on the way to a spawn call inside it
    throw InternalError("spawn: rank {}: its function ended before the spawn call that was made in it",
                        turn.rank);
  }
  Store store = Store::serve({.host = "127.0.0.1", .port = 0}, {.who = "spawn"});
  const Variables variables = environment_for(nprocs, store);
  const auto arguments = own_arguments();
  std::vector<SpawnedProgram> programs;
  for (int rank = 0; rank < nprocs; ++rank)
    programs.push_back(
        program_for(rank, fmt::format("{}{}{}.{}", here.path, here.path.empty() ? "" : "/", call, rank),
                    arguments, variables));
  SpawnContext context(
      std::make_shared<SpawnContext::Supervisor>(std::move(programs), kPipeVariable, std::move(store)));
  if (join) context.join();
  return context;
}

}  // namespace diffract::distributed
