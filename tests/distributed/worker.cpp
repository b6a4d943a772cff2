// What the multi-process tests run: `distributed_worker WHAT [arguments]`. Prints what it found; errors go to
// stderr with the exit code of their kind.
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>

#include "diffract/core/error.h"
#include "diffract/distributed/process_group.h"
#include "diffract/distributed/spawn.h"
#include "tests/distributed/collectives.h"

namespace diffract::distributed {
namespace {

using Arguments = std::vector<std::string>;
using std::chrono::milliseconds;

milliseconds timeout_of(const Arguments& arguments) {
  return milliseconds(arguments.empty() ? 60000 : std::stoi(arguments[0]));
}

void say(const std::string& line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

void collectives(const Arguments& arguments) {
  init_process_group("gloo", timeout_of(arguments));
  test::check_collectives(world());
  const Group odd_and_even = new_group([] {
    std::vector<int> reversed;
    for (int rank = get_world_size() - 1; rank >= 0; rank -= 2) reversed.push_back(rank);
    return reversed;
  }());
  if (odd_and_even) test::check_collectives(odd_and_even);
  barrier();
  destroy_process_group();
  init_process_group();  // the world may be made anew
  barrier();
  say("collectives hold");
}

// Meets the others, and then the rank `arguments[1]` does not come to the second barrier: it waits to be
// killed.
void absent(const Arguments& arguments) {
  init_process_group("gloo", timeout_of(arguments));
  barrier();
  say("met");
  if (get_rank() == std::stoi(arguments.at(1))) ::pause();
  at::Tensor tensor = at::ones({4});
  all_reduce(tensor);
}

// One rank calls another collective than the rest.
void mismatch(const Arguments& arguments) {
  init_process_group("gloo", timeout_of(arguments));
  at::Tensor tensor = at::ones({4});
  if (get_rank() == 0)
    all_reduce(tensor);
  else
    barrier();
}

void silent_peer(const Arguments& arguments) {
  init_process_group("gloo", timeout_of(arguments));
  at::Tensor tensor = at::ones({4});
  if (get_rank() == 0) recv(tensor, 1);
  barrier();
}

void meet(const Arguments& arguments) {
  init_process_group("gloo", timeout_of(arguments));
  say(fmt::format("rank {} of {}", get_rank(), get_world_size()));
  barrier();
}

// As rank arguments[1] of arguments[2], whatever the environment says.
void meet_as(const Arguments& arguments) {
  init_process_group("gloo", std::stoi(arguments.at(1)), std::stoi(arguments.at(2)), timeout_of(arguments));
  say(fmt::format("rank {} of {}", get_rank(), get_world_size()));
  barrier();
}

void serve_store(const Arguments&) {
  Store store = Store::serve({.host = "127.0.0.1", .port = 0});
  say(fmt::format("port {}.", store.endpoint().port));
  ::pause();
}

int run(const std::string& what, const Arguments& arguments) {
  const std::map<std::string, std::function<void(const Arguments&)>> known = {
      {"collectives", collectives}, {"absent", absent}, {"mismatch", mismatch},
      {"silent_peer", silent_peer}, {"meet", meet},     {"meet_as", meet_as},
      {"serve_store", serve_store}};
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
