#include "diffract/distributed/spawn.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "diffract/core/error.h"
#include "diffract/core/log.h"
#include "diffract/distributed/environment.h"
#include "diffract/distributed/spawn_supervisor.h"
#include "diffract/distributed/store.h"
#include "diffract/tensor/device_backend.h"

namespace diffract::distributed {
namespace {

// How a process comes to its own call: "0.1.2@127.0.0.1:4567/2.0.3" is call 0 as rank 1 of 2, which meet at
// that store, and in it call 2 as rank 0 of 3, which meet where MASTER_ADDR and MASTER_PORT say.
constexpr const char* kPathVariable = "DIFFRACT_SPAWN";
constexpr const char* kPipeVariable = "DIFFRACT_SPAWN_PIPE";

struct Turn {
  int call = 0, rank = 0, nprocs = 0;
  std::string store;  // empty: not ours

  std::string text() const {
    return fmt::format("{}.{}.{}{}{}", call, rank, nprocs, store.empty() ? "" : "@", store);
  }
};

// Where this process is among the spawn calls: on the way through `target`, or past it.
struct Position {
  std::string path;     // of this process, as in kPathVariable
  Variables variables;  // that the program was started with: those of all processes that it starts
  std::vector<Turn> target;
  size_t level = 0;
  int calls_at_level = 0;
};

std::vector<std::string> split_at(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Turn parse_turn(const std::string& text, const std::string& path) {
  const size_t at = text.find('@');
  const auto numbers = split_at(text.substr(0, at), '.');
  Turn turn{.store = at == std::string::npos ? "" : text.substr(at + 1)};
  const auto read = [](const std::string& digits, int& value) {
    const char* end = digits.data() + digits.size();
    return std::from_chars(digits.data(), end, value).ptr == end;
  };
  if (numbers.size() != 3 || !read(numbers[0], turn.call) || !read(numbers[1], turn.rank) ||
      !read(numbers[2], turn.nprocs))
    throw UsageError("{} is \"{}\"; only spawn sets it", kPathVariable, path);
  return turn;
}

Position& position() {
  static Position* const here = [] {
    auto* made = new Position;
    made->variables = current_variables();
    made->path = made->variables[kPathVariable];
    made->variables.erase(kPathVariable);
    made->variables.erase(kPipeVariable);
    ::unsetenv(kPathVariable);  // not for the programs that this one starts
    if (made->path.empty()) return made;
    for (const auto& turn : split_at(made->path, '/')) made->target.push_back(parse_turn(turn, made->path));
    return made;
  }();
  return *here;
}

// The world of a call's processes begins in them with the call: up to it the program sees what it saw the
// first time.
void enter_world(const Turn& turn) {
  const auto set = [](const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); };
  ::unsetenv("TORCHELASTIC_USE_AGENT_STORE");
  ::unsetenv("TORCHELASTIC_RESTART_COUNT");
  set("RANK", std::to_string(turn.rank));
  set("LOCAL_RANK", std::to_string(turn.rank));
  set("WORLD_SIZE", std::to_string(turn.nprocs));
  set("LOCAL_WORLD_SIZE", std::to_string(turn.nprocs));
  if (turn.store.empty()) return;
  const size_t colon = turn.store.rfind(':');
  set("MASTER_ADDR", turn.store.substr(0, colon));
  set("MASTER_PORT", turn.store.substr(colon + 1));
  set(kStoreVariable, turn.store);
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
  ::unsetenv(kPipeVariable);
  if (pipe) ::fcntl(pipe.get(), F_SETFD, FD_CLOEXEC);
  const SpawnOutcome outcome = run(fn, rank);
  tensor::await_backends();
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

// True when the user has said where rank 0 is to be found; a launcher says so for another world.
bool master_is_set_by_hand() {
  const Variables variables = current_variables();
  const auto has = [&](const char* name) { return variables.count(name) > 0; };
  return has("MASTER_ADDR") && has("MASTER_PORT") && !has("RANK") && !has(kStoreVariable);
}

SpawnedProgram program_for(const Position& here, const Turn& turn,
                           const std::vector<std::string>& arguments) {
  Variables variables = here.variables;
  variables[kPathVariable] = here.path.empty() ? turn.text() : here.path + "/" + turn.text();
  SpawnedProgram program{.arguments = arguments, .environment = {}};
  for (const auto& [name, value] : variables)
    program.environment.push_back(fmt::format("{}={}", name, value));
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
    const Turn& turn = here.target[here.level];
    if (call < turn.call) return SpawnContext();
    ++here.level;
    here.calls_at_level = 0;
    enter_world(turn);
    if (here.level == here.target.size()) run_and_exit(fn, turn.rank);
    fn(turn.rank);  // on the way to a spawn call inside it
    throw InternalError("spawn: rank {}: its function ended before the spawn call that was made in it",
                        turn.rank);
  }
  Store store = Store::serve({.host = "127.0.0.1", .port = 0}, {.who = "spawn"});
  const auto arguments = own_arguments();
  Turn turn{.call = call, .nprocs = nprocs, .store = master_is_set_by_hand() ? "" : store.endpoint().text()};
  std::vector<SpawnedProgram> programs;
  for (turn.rank = 0; turn.rank < nprocs; ++turn.rank) programs.push_back(program_for(here, turn, arguments));
  SpawnContext context(
      std::make_shared<SpawnContext::Supervisor>(std::move(programs), kPipeVariable, std::move(store)));
  if (join) context.join();
  return context;
}

}  // namespace diffract::distributed
