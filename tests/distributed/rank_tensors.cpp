#include "tests/distributed/rank_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "diffract/core/error.h"
#include "diffract/distributed/lane.h"
#include "diffract/distributed/process_group.h"
#include "diffract/distributed/rank_tensor.h"

namespace diffract::test {
namespace {

using namespace distributed;
using at::Tensor;

void require(bool holds, const std::string& what) {
  if (!holds) throw InternalError("rank {}: {}", get_rank(), what);
}

// `value`, which is made in its rank alone.
Tensor held_by(int rank, const Tensor& value) {
  return rank_tensor(rank_device(rank), get_rank() == rank ? value : value.to(at::kMeta));
}

void expect(const Tensor& x, int rank, const Tensor& expected, const std::string& what) {
  require(x.device() == rank_device(rank), what + ": is on " + device_name(x.device()));
  require(x.sizes() == expected.sizes() && x.scalar_type() == expected.scalar_type(), what + ": shape");
  require(value_of(x).is_meta() == (get_rank() != rank), what + ": whose value it is");
  if (get_rank() == rank) require(at::equal(value_of(x), expected), what + ": value");
}

void expect_everywhere(const Tensor& x, const Tensor& expected, const std::string& what) {
  require(x.device().is_cpu() && at::equal(x, expected), what);
}

}  // namespace

void check_rank_tensors() {
  const int last = get_world_size() - 1;
  const Tensor a = at::arange(24).to(at::kFloat).view({2, 3, 4}), b = a * 0.5 + 1;
  const Tensor x = held_by(last, a), y = held_by(0, b);
  expect(at::silu(x) + 2, last, at::silu(a) + 2, "operations");
  expect(x.slice(1, 1).transpose(1, 2).reshape({-1}), last, a.slice(1, 1).transpose(1, 2).reshape({-1}),
         "views");
  expect(x + moved(b, x.device()), last, a + b, "with a tensor that all have");
  expect(x + at::scalar_tensor(2), last, a + 2, "with a number that all have");
  expect(x.to(at::kDouble), last, a.to(at::kDouble), "another dtype");
  expect(at::cat(x.chunk(3, 1), 2), last, at::cat(a.chunk(3, 1), 2), "lists");
  expect(at::empty_like(x).fill_(3), last, at::full_like(a, 3), "made like it");
  Tensor changed = x.clone();
  changed.mul_(2).add_(y.sizes()[0]);
  expect(changed, last, a * 2 + 2, "in place");
  expect(x.index({at::tensor({1, 0}), at::tensor({2, 2})}), last,
         a.index({at::tensor({1, 0}), at::tensor({2, 2})}), "by indices that all have");

  expect(moved(x, rank_device(0)), 0, a, "sent");
  expect(moved(x, rank_device(0)), 0, a, "sent once, there twice");
  expect(moved(x.transpose(0, 2), rank_device(0)) + 1, 0, a.transpose(0, 2) + 1, "sent, not dense");
  expect_everywhere(moved(x, at::kCPU), a, "to all");
  expect_everywhere(x.to(at::kCPU, at::kDouble), a.to(at::kDouble), "to all, in another dtype");
  expect_everywhere(moved(moved(y, rank_device(last)) + x, at::kCPU), a + b, "there and back");
  const auto is_refused = [](const std::function<void()>& call) {
    try {
      call();
      return false;
    } catch (const std::exception&) {
      return true;
    }
  };
  const bool two_ranks = last > 0;
  require(is_refused([&] { static_cast<void>(x + y); }) == two_ranks, "a sum of two ranks' values");
  require(is_refused([&] { static_cast<void>(at::linear(x, y[0])); }) == two_ranks, "their product");
}

// A ring: each picture goes twice around all ranks, and grows by what each rank knows.
void check_lanes(int count, int in_flight) {
  std::vector<bool> done(static_cast<size_t>(count));
  run_in_flight(static_cast<size_t>(count), in_flight, [&](size_t i) {
    Tensor x = held_by(0, at::full({1000}, static_cast<double>(i)));
    for (int hop = 0; hop < 2 * get_world_size(); ++hop)
      x = moved(x, rank_device(hop % get_world_size())) + hop;
    const int hops = 2 * get_world_size();
    expect_everywhere(moved(x, at::kCPU), at::full({1000}, static_cast<double>(i) + hops * (hops - 1) / 2),
                      "after the ring");
    done[i] = true;
  });
  require(std::all_of(done.begin(), done.end(), [](bool one) { return one; }), "all were computed");
}

void fail_in_a_lane(int failing_rank) {
  run_in_flight(8, 4, [&](size_t i) {
    Tensor x = held_by(0, at::ones({10}));
    for (int hop = 0; hop < 100; ++hop) {
      if (i == 2 && hop == 50 && get_rank() == failing_rank) throw MemoryError("no memory in lane 2");
      x = moved(x, rank_device(hop % get_world_size())) * 1;
    }
  });
}

}  // namespace diffract::test
