// What the multi-process tests run: `distributed_worker WHAT [arguments]`. Prints what it found; errors go to
// stderr with the exit code of their kind.
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <numeric>

#include "diffract/core/cpus.h"
#include "diffract/core/error.h"
#include "diffract/distributed/devices.h"
#include "diffract/distributed/partial_state.h"
#include "diffract/distributed/process_group.h"
#include "diffract/distributed/spawn.h"
#include "tests/distributed/collectives.h"
#include "tests/distributed/rank_tensors.h"

namespace diffract::distributed {
namespace {

using Arguments = std::vector<std::string>;
using std::chrono::milliseconds;

milliseconds timeout_of(const Arguments& arguments) {
  return milliseconds(arguments.empty() ? 200000 : std::stoi(arguments[0]));
}

void say(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

// DIFFRACT_TEST_BACKEND runs the same over another engine, on its own device.
std::string backend() {
  const char* given = std::getenv("DIFFRACT_TEST_BACKEND");
  return given ? given : "gloo";
}
at::Device device() {
  return backend() == "nccl" ? local_device(detect_environment(current_variables()).local_rank) : at::kCPU;
}

void collectives(const Arguments& arguments) {
  init_process_group(backend(), timeout_of(arguments));
  test::check_collectives(world(), device());
  const Group odd_and_even = new_group([] {
    std::vector<int> reversed;
    for (int rank = get_world_size() - 1; rank >= 0; rank -= 2) reversed.push_back(rank);
    return reversed;
  }());
  if (odd_and_even) test::check_collectives(odd_and_even, device());
  barrier();
  destroy_process_group();
  init_process_group();  // the world may be made anew
  if (get_backend() != backend()) throw InternalError("the device chose {}", get_backend());
  barrier();
  say("collectives hold");
}

void rank_tensors(const Arguments& arguments) {
  init_process_group("gloo", timeout_of(arguments));
  const c10::InferenceMode no_autograd;
  test::check_rank_tensors();
  say("rank tensors hold");
}

void lanes(const Arguments& arguments) {
  init_process_group("gloo", timeout_of(arguments));
  test::check_lanes(std::stoi(arguments.at(1)), std::stoi(arguments.at(2)));
  test::check_lanes(3, 2);  // a second time, in the same world
  say("lanes hold");
}

void failing_lane(const Arguments& arguments) {
  init_process_group("gloo", timeout_of(arguments));
  test::fail_in_a_lane(std::stoi(arguments.at(1)));
}

// All ranks have met, with patience, before the group's short timeout counts.
Group impatient_group(const std::string& backend, const Arguments& arguments) {
  init_process_group(backend, timeout_of({}));
  std::vector<int> all(static_cast<size_t>(get_world_size()));
  std::iota(all.begin(), all.end(), 0);
  Group group = new_group(all, timeout_of(arguments));
  barrier();
  return group;
}

// Meets the others, and then the rank `arguments[1]` does not come to the collective: it waits to be killed.
void absent(const Arguments& arguments) {
  const Group group = impatient_group(backend(), arguments);
  say("met");
  if (get_rank() == std::stoi(arguments.at(1))) ::pause();
  at::Tensor tensor = at::ones({4}, device());
  all_reduce(tensor, ReduceOp::sum, group);
}

// One rank calls another collective than the rest.
void mismatch(const Arguments& arguments) {
  const Group group = impatient_group("gloo", arguments);
  at::Tensor tensor = at::ones({4});
  if (get_rank() == 0)
    all_reduce(tensor, ReduceOp::sum, group);
  else
    barrier(group);
}

void silent_peer(const Arguments& arguments) {
  const Group group = impatient_group(backend(), arguments);
  at::Tensor tensor = at::ones({4}, device());
  if (get_rank() == 0) recv(tensor, 1, 0, group);
  barrier();
}

void meet(const Arguments& arguments) {
  init_process_group(arguments.size() > 1 ? arguments[1] : backend(), timeout_of(arguments));
  say(fmt::format("rank {} of {} over {}", get_rank(), get_world_size(), get_backend()));
  barrier();
}

// As rank arguments[1] of arguments[2], whatever the environment says.
void meet_as(const Arguments& arguments) {
  init_process_group("gloo", std::stoi(arguments.at(1)), std::stoi(arguments.at(2)), timeout_of(arguments));
  say(fmt::format("rank {} of {}", get_rank(), get_world_size()));
  barrier();
}

// The guide's own line.
void nccl(const Arguments&) { init_process_group("nccl", 0, 1); }

void serve_store(const Arguments&) {
  Store store = Store::serve({.host = "127.0.0.1", .port = 0});
  say(fmt::format("port {}.", store.endpoint().port));
  ::pause();
}

// Everything that PartialState says, and the order of main_process_first.
void partial_state(const Arguments&) {
  const PartialState state, again;
  say(fmt::format("index {} of {}, local {}, {}, {}{}{}", state.process_index(), again.num_processes(),
                  state.local_process_index(), state.device().str(), state.is_main_process() ? "main " : "",
                  state.is_local_main_process() ? "local-main " : "", state.is_last_process() ? "last" : ""));
  const auto share = state.split_between_processes({"a", "b", "c", "d", "e"}, true);
  say(fmt::format("share {}", fmt::join(share, "")));
  const at::Tensor numbers = state.split_between_processes(at::arange(5));
  say(fmt::format("tensor of {}", numbers.size(0)));
  say(fmt::format("threads {}, cpus {}", at::get_num_threads(), allowed_cpus().size()));
  const auto on = [&](const std::string& name, auto&& function) { function(name); };
  on("on_main", state.on_main_process([](const std::string& name) { say(name); }));
  on("on_local_main", state.on_local_main_process([](const std::string& name) { say(name); }));
  on("on_last", state.on_last_process([](const std::string& name) { say(name); }));
  on("on_1", state.on_process([](const std::string& name) { say(name); }, 1));
  on("on_local_1", state.on_local_process([](const std::string& name) { say(name); }, 1));
  state.print("printed");
  if (state.num_processes() > 1) {
    Store store = world_store();
    for (const bool local : {false, true}) {
      int64_t turn = 0;
      const auto body = [&] { turn = store.add(local ? "local" : "main", 1); };
      local ? state.local_main_process_first(body) : state.main_process_first(body);
      if ((turn == 1) != state.is_main_process()) throw InternalError("turn {}", turn);
    }
    // A main process that fails lets the others go on.
    try {
      state.main_process_first([&] {
        if (state.is_main_process()) throw UsageError("thrown on purpose");
      });
    } catch (const UsageError&) {
      say("thrown");
    }
  }
  state.wait_for_everyone();
  state.destroy_process_group();
  say("index is still " + std::to_string(state.process_index()));
}

void spawn_twice(const Arguments& arguments) {
  // A spawned process sees its world from the call on, and before it what the program saw the first time.
  if (detect_environment(current_variables()).world_size != 1) throw InternalError("in a world too early");
  spawn([](int rank) { say(fmt::format("first {}", rank)); }, 2);
  say(arguments.at(0) + " between");
  spawn([](int rank) { say(fmt::format("second {}", rank)); }, 3);
  say(arguments.at(0) + " after");
}

void spawn_nested(const Arguments&) {
  spawn(
      [](int outer) {
        spawn([outer](int inner) { say(fmt::format("early {}.{}", outer, inner)); }, 1);
        spawn([outer](int inner) { say(fmt::format("inner {}.{}", outer, inner)); }, 2);
        say(fmt::format("outer {}", outer));
      },
      2);
}

void spawn_group(const Arguments&) {
  constexpr int kWorldSize = 3;
  spawn(
      [](int rank) {
        init_process_group("gloo", rank, kWorldSize);
        at::Tensor tensor = at::full({1}, rank + 1);
        all_reduce(tensor);
        const PartialState state;
        say(fmt::format("rank {} of {} has {}", state.process_index(), get_world_size(),
                        tensor.item<int64_t>()));
      },
      kWorldSize);
}

void spawn_fails(const Arguments& arguments) {
  const std::string how = arguments.at(0);
  spawn(
      [&](int rank) {
        init_process_group("gloo", rank, 3);
        say(fmt::format("pid {};", ::getpid()));
        barrier();
        if (rank != 1) {
          at::Tensor tensor = at::ones({1});
          all_reduce(tensor);  // fails because rank 1 is gone
        }
        if (how == "throw") throw UsageError("no such prompt");
        if (how == "foreign") throw 5;
        if (how == "kill") ::raise(SIGKILL);
        if (how == "exit") ::_exit(41);
      },
      3);
}

void spawn_and_wait(const Arguments&) {
  const SpawnContext context = spawn(
      [](int) {
        say(fmt::format("pid {};", ::getpid()));
        ::pause();
      },
      2, false);
  if (context.join(milliseconds(1))) throw InternalError("processes that wait have ended");
  say(fmt::format("{} started", context.pids().size()));
  ::pause();
}

void spawn_environment(const Arguments&) {
  spawn(
      [](int) {
        for (const char* name : {"DIFFRACT_SPAWN", "DIFFRACT_SPAWN_PIPE"})
          say(fmt::format("{} {}", name, std::getenv(name) ? "stays" : "is gone"));
      },
      1);
}

void spawn_and_leave(const Arguments&) {
  spawn([](int) { ::pause(); }, 2, false);
  say("left");
}

// The program takes another way when it is run again.
void spawn_astray(const Arguments&) {
  if (!std::getenv("DIFFRACT_SPAWN")) spawn([](int) {}, 1);
}

void spawn_none(const Arguments&) {
  spawn([](int) {}, 0);
}

int run(const std::string& what, const Arguments& arguments) {
  const std::map<std::string, std::function<void(const Arguments&)>> known = {
      {"collectives", collectives},
      {"absent", absent},
      {"rank_tensors", rank_tensors},
      {"lanes", lanes},
      {"failing_lane", failing_lane},
      {"mismatch", mismatch},
      {"silent_peer", silent_peer},
      {"meet", meet},
      {"meet_as", meet_as},
      {"serve_store", serve_store},
      {"nccl", nccl},
      {"partial_state", partial_state},
      {"spawn_twice", spawn_twice},
      {"spawn_nested", spawn_nested},
      {"spawn_group", spawn_group},
      {"spawn_fails", spawn_fails},
      {"spawn_and_wait", spawn_and_wait},
      {"spawn_environment", spawn_environment},
      {"spawn_and_leave", spawn_and_leave},
      {"spawn_astray", spawn_astray},
      {"spawn_none", spawn_none}};
  try {
    known.at(what)(arguments);
    return 0;
  } catch (const Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return error_info(error.kind()).exit_code;
  } catch (const c10::Error& error) {
    fmt::print(stderr, "unexpected: {}\n", error.what_without_backtrace());
    return 99;
  } catch (const std::exception& error) {
    fmt::print(stderr, "unexpected: {}\n", error.what());
    return 99;
  }
}

}  // namespace
}  // namespace diffract::distributed

int main(int argc, char** argv) {
  at::set_num_threads(1);
  return diffract::distributed::run(argc > 1 ? argv[1] : "", {argv + std::min(argc, 2), argv + argc});
}
