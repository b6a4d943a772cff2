#include "tests/distributed/collectives.h"

#include "diffract/core/error.h"

namespace diffract::test {
namespace {

using distributed::Group;
using distributed::ReduceOp;

void expect(bool holds, const char* what, const Group& group, const at::Tensor& found) {
  if (!holds)
    throw InternalError("rank {} of {}: {} gave {}", group.rank(), group.size(), what, c10::str(found));
}

void check_broadcast(const Group& group, const at::TensorOptions& options) {
  for (int source = 0; source < group.size(); ++source) {
    const at::Tensor sent = at::arange(6, options).view({2, 3}) + source;
    at::Tensor tensor = group.rank() == source ? sent.clone() : at::zeros({2, 3}, options);
    group.broadcast(tensor, source);
    expect(tensor.equal(sent), "broadcast", group, tensor);
    // Not contiguous: a column of a matrix.
    at::Tensor matrix = at::zeros({3, 2}, options);
    at::Tensor column = matrix.select(1, 1);
    if (group.rank() == source) column.copy_(sent[1]);
    group.broadcast(column, source);
    expect(column.equal(sent[1]) && matrix.select(1, 0).sum().item<double>() == 0, "broadcast of a column",
           group, matrix);
  }
}

void check_all_reduce(const Group& group, const at::TensorOptions& options) {
  const int size = group.size(), rank = group.rank();
  const auto reduced = [&](ReduceOp op) {
    at::Tensor tensor = at::full({3}, rank + 1, options);
    group.all_reduce(tensor, op);
    return tensor;
  };
  double product = 1;
  for (int i = 1; i <= size; ++i) product *= i;
  const at::Tensor sum = reduced(ReduceOp::sum), most = reduced(ReduceOp::max),
                   least = reduced(ReduceOp::min), times = reduced(ReduceOp::product);
  expect(sum.eq(size * (size + 1) / 2).all().item<bool>(), "all_reduce sum", group, sum);
  expect(most.eq(size).all().item<bool>(), "all_reduce max", group, most);
  expect(least.eq(1).all().item<bool>(), "all_reduce min", group, least);
  expect(times.eq(product).all().item<bool>(), "all_reduce product", group, times);
}

void check_all_gather(const Group& group, const at::TensorOptions& options) {
  const auto all = group.all_gather(at::full({2, 2}, group.rank(), options));
  for (int rank = 0; rank < group.size(); ++rank) {
    const at::Tensor& part = all.at(static_cast<size_t>(rank));
    expect(part.eq(rank).all().item<bool>() && part.dim() == 2, "all_gather", group, part);
  }
}

// Rank r sends r + 1 times 10 * r + d to rank d: shapes that differ, the first of them empty of nothing but
// sense.
void check_all_to_all(const Group& group, const at::TensorOptions& options) {
  const int size = group.size(), rank = group.rank();
  std::vector<at::Tensor> inputs, outputs;
  for (int other = 0; other < size; ++other) {
    inputs.push_back(at::full({rank, 2}, 10 * rank + other, options));  // rank 0 sends empty tensors
    outputs.push_back(at::zeros({other, 2}, options));
  }
  group.all_to_all(outputs, inputs);
  for (int other = 0; other < size; ++other) {
    const at::Tensor& part = outputs[static_cast<size_t>(other)];
    expect(part.eq(10 * other + rank).all().item<bool>(), "all_to_all", group, part);
  }
}

// Around the ring, with another tag each way.
void check_send_recv(const Group& group, const at::TensorOptions& options) {
  const int size = group.size(), rank = group.rank();
  if (size == 1) return;
  const int next = (rank + 1) % size, previous = (rank + size - 1) % size;
  at::Tensor received = at::zeros({5}, options);
  if (rank == 0) {
    group.send(at::full({5}, 100, options), next, 7);
    group.recv(received, previous, 7);
    expect(received.eq(100 + size - 1).all().item<bool>(), "send and recv", group, received);
  } else {
    group.recv(received, previous, 7);
    group.send(received + 1, next, 7);
  }
}

}  // namespace

void check_collectives(const Group& group, at::Device device) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble, at::kLong, at::kHalf, at::kBFloat16}) {
    const auto options = at::TensorOptions().dtype(dtype).device(device);
    check_broadcast(group, options);
    check_all_gather(group, options);
    check_all_to_all(group, options);
    check_send_recv(group, options);
    if (group.size() <= 8 && dtype != at::kHalf && dtype != at::kBFloat16) check_all_reduce(group, options);
  }
  group.barrier();
  at::Tensor large = at::full({1 << 20}, group.rank(), at::TensorOptions().device(device));
  group.all_reduce(large);
  expect(large.eq(group.size() * (group.size() - 1) / 2).all().item<bool>(), "all_reduce of 4 MiB", group,
         large);
}

}  // namespace diffract::test
