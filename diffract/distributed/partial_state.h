#pragma once
#include <ATen/ATen.h>

#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "diffract/distributed/process_group.h"
#include "diffract/distributed/split.h"

namespace diffract::distributed {

struct PartialStateOptions {
  bool cpu = false;     // no GPU, also where there is one
  std::string backend;  // as init_process_group's
  std::chrono::milliseconds timeout = kDefaultTimeout;
};

/// Who this process is, as accelerate's PartialState tells it. The first one made in a process finds it out
/// from the environment (environment.h), and meets the other processes, or uses the world that
/// init_process_group has made already; all others are the same state,
/// whatever their options. Unlike accelerate's it distributes on machines without GPUs as well.
///
/// Throws as init_process_group does.
class PartialState {
 public:
  explicit PartialState(const PartialStateOptions& options = {});

  int process_index() const;
  int num_processes() const;
  int local_process_index() const;  // among the processes of this host
  /// cuda:(local_process_index mod GPUs), or the CPU.
  at::Device device() const;
  bool is_main_process() const { return process_index() == 0; }
  bool is_local_main_process() const { return local_process_index() == 0; }
  bool is_last_process() const { return process_index() == num_processes() - 1; }

  /// Returns when all processes have called it.
  void wait_for_everyone() const;
  /// Runs `body` in the main process first, then in the others; when it throws there, they go on all the
  /// same.
  void main_process_first(const std::function<void()>& body) const { goes_first(is_main_process(), body); }
  void local_main_process_first(const std::function<void()>& body) const {
    goes_first(is_local_main_process(), body);
  }

  /// A function that does what `function` does in one kind of process and nothing in the others.
  template <typename F>
  auto on_main_process(F function) const {
    return only_if(is_main_process(), std::move(function));
  }
  template <typename F>
  auto on_local_main_process(F function) const {
    return only_if(is_local_main_process(), std::move(function));
  }
  template <typename F>
  auto on_last_process(F function) const {
    return only_if(is_last_process(), std::move(function));
  }
  template <typename F>
  auto on_process(F function, int process_index_wanted) const {
    return only_if(process_index() == process_index_wanted, std::move(function));
  }
  template <typename F>
  auto on_local_process(F function, int local_process_index_wanted) const {
    return only_if(local_process_index() == local_process_index_wanted, std::move(function));
  }

  /// This process's share of `inputs` (split.h): a vector, a tensor, an object of them, or JSON. With
  /// `apply_padding` a tensor's share is moved to device(), as accelerate does.
  template <typename T>
  std::vector<T> split_between_processes(const std::vector<T>& inputs, bool apply_padding = false) const {
    return split(inputs, place(), apply_padding);
  }
  std::vector<std::string> split_between_processes(std::initializer_list<const char*> inputs,
                                                   bool apply_padding = false) const {
    return split(std::vector<std::string>(inputs.begin(), inputs.end()), place(), apply_padding);
  }
  std::vector<std::string> split_between_processes(std::initializer_list<std::string> inputs,
                                                   bool apply_padding = false) const {
    return split(std::vector<std::string>(inputs), place(), apply_padding);
  }
  template <typename Value>
  std::map<std::string, Value> split_between_processes(const std::map<std::string, Value>& inputs,
                                                       bool apply_padding = false) const {
    return split(inputs, place(), apply_padding);
  }
  at::Tensor split_between_processes(const at::Tensor& inputs, bool apply_padding = false) const;
  Json split_between_processes(const Json& inputs, bool apply_padding = false) const {
    return split(inputs, place(), apply_padding);
  }

  /// A line on standard output, from one process of each host.
  void print(const std::string& line) const;
  /// Leaves the world, where there is one; the process stays who it is.
  void destroy_process_group() const;

 private:
  WorldRank place() const { return {.rank = process_index(), .world_size = num_processes()}; }
  void let_others_go_on() const;
  void goes_first(bool first, const std::function<void()>& body) const;
  template <typename F>
  static auto only_if(bool here, F function) {
    return [here, function = std::move(function)](auto&&... arguments) mutable {
      if (here) function(std::forward<decltype(arguments)>(arguments)...);
    };
  }
};

}  // namespace diffract::distributed
