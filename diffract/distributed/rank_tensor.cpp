#include "diffract/distributed/rank_tensor.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <map>

#include "diffract/core/error.h"
#include "diffract/distributed/lane.h"
#include "diffract/distributed/process_group.h"
#include "diffract/distributed/tensor_message.h"

namespace diffract::distributed {
namespace {

using at::Tensor;
constexpr auto kRank = c10::DeviceType::MAIA;
constexpr int kMostRanks = 128;  // libtorch numbers devices with a signed byte

C10_REGISTER_GUARD_IMPL(MAIA, c10::impl::NoOpDeviceGuardImpl<kRank>)

// Shape and dtype are in libtorch's own fields.
struct RankTensorImpl final : c10::TensorImpl {
  RankTensorImpl(at::Device device, Tensor of)
      : TensorImpl(c10::DispatchKeySet(c10::DispatchKey::MAIA), of.dtype(), device), value(std::move(of)) {
    set_sizes_and_strides(value.sizes(), value.strides());
    set_custom_sizes_strides(SizesStridesPolicy::CustomStrides);
  }
  // Ranks do not know each other's strides. What they do must not depend on them: x.contiguous() is a tensor
  // of its own on all of them.
  c10::SymBool sym_is_contiguous_custom(at::MemoryFormat) const override { return false; }

  Tensor value;
  std::map<at::DeviceIndex, Tensor> copies;  // that moved() has made, by rank
};

RankTensorImpl& impl_of(const Tensor& x) {
  if (auto* impl = dynamic_cast<RankTensorImpl*>(x.unsafeGetTensorImpl())) return *impl;
  throw InternalError("libtorch made a tensor of {} that has no value", device_name(x.device()));
}

bool is_rank_tensor(const Tensor& x) { return x.defined() && is_rank_device(x.device()); }

Tensor to_meta(const Tensor& x) {
  return at::empty_strided(x.sizes(), x.strides(), x.options().device(at::kMeta));
}

// The arguments of a call as values, and the rank that they are of. Of that rank's values some may lie on its
// accelerator and others in the CPU's memory, where messages come from: the call is made on the accelerator.
class Call {
 public:
  explicit Call(const c10::FunctionSchema& schema) : schema_(schema) {}

  void look_at(const Tensor& x) {
    if (is_rank_tensor(x)) set(x.device());
  }
  void set(at::Device device) {
    if (device_ && *device_ != device)
      throw InternalError("{}: has values of {} and {}; one of them is to be moved first", schema_.name(),
                          device_name(*device_), device_name(device));
    device_ = device;
  }
  template <typename Visit>
  static void for_each_tensor(const c10::IValue& argument, Visit&& visit) {
    if (argument.isTensor()) visit(argument.toTensor());
    if (argument.isTensorList())
      for (const Tensor& x : argument.toTensorVector()) visit(x);
    if (argument.isOptionalTensorList())
      for (const auto& x : argument.toOptionalTensorVector())
        if (x) visit(*x);
  }
  void look_at_all(const std::vector<c10::IValue>& arguments) {
    for (const c10::IValue& argument : arguments) {
      for_each_tensor(argument, [&](const Tensor& x) { look_at(x); });
      if (argument.isDevice() && is_rank_device(argument.toDevice())) set(argument.toDevice());
    }
    if (!device_ || !is_here()) return;
    for (size_t i = 0; i < arguments.size(); ++i)
      for_each_tensor(arguments[i], [&](const Tensor& x) {
        if (!x.defined() || x.is_meta()) return;
        const auto* alias = schema_.arguments()[i].alias_info();
        choose_place(value_of(x).device(), /*is_written=*/alias && alias->isWrite());
      });
  }

  Tensor value(const Tensor& x) const {
    if (!x.defined()) return x;
    const bool is_number = x.dim() == 0 && x.device().is_cpu();
    if (is_here()) return is_number || x.is_meta() ? x : value_of(x).to(place_);
    if (is_rank_tensor(x)) return impl_of(x).value;
    return is_number || x.is_meta() ? x : to_meta(x);
  }
  c10::IValue value(const c10::IValue& argument) const {
    if (argument.isTensor()) return value(argument.toTensor());
    if (argument.isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor& x : argument.toTensorVector()) list.push_back(value(x));
      return list;
    }
    if (argument.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> list;
      for (const auto& x : argument.toOptionalTensorVector())
        list.push_back(x ? std::optional<Tensor>(value(*x)) : std::nullopt);
      return list;
    }
    if (argument.isDevice() && is_rank_device(argument.toDevice()))
      return is_here() ? place_ : at::Device(at::kMeta);
    return argument;
  }
  Tensor result(const Tensor& value) const { return value.defined() ? rank_tensor(*device_, value) : value; }

 private:
  bool is_here() const { return is_this_rank(*device_); }
  // What is written into stays where it is; else an accelerator comes before the CPU.
  void choose_place(at::Device found, bool is_written) {
    if (is_written || (!place_is_fixed_ && place_.is_cpu())) place_ = found;
    place_is_fixed_ = place_is_fixed_ || is_written;
  }
  const c10::FunctionSchema& schema_;
  std::optional<at::Device> device_;
  at::Device place_ = at::kCPU;  // where this rank makes the call
  bool place_is_fixed_ = false;
};

// The argument that a call writes into and gives back, or none.
std::optional<size_t> written_argument(const c10::FunctionSchema& schema, size_t result) {
  const auto* alias = schema.returns()[result].alias_info();
  if (!alias || !alias->isWrite()) return {};
  for (size_t i = 0; i < schema.arguments().size(); ++i) {
    const auto* from = schema.arguments()[i].alias_info();
    if (from && from->isWrite() && from->beforeSets() == alias->beforeSets()) return i;
  }
  return {};
}

// Any operation: on the values.
void on_values(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const size_t count = schema.arguments().size();
  const std::vector<c10::IValue> arguments(stack->end() - static_cast<std::ptrdiff_t>(count), stack->end());
  stack->resize(stack->size() - count);
  Call call(schema);
  call.look_at_all(arguments);
  for (const c10::IValue& argument : arguments) stack->push_back(call.value(argument));
  op.callBoxed(stack);

  const size_t first = stack->size() - schema.returns().size();
  for (size_t i = first; i < stack->size(); ++i) {
    c10::IValue& result = (*stack)[i];
    if (const auto written = written_argument(schema, i - first)) {
      result = arguments[*written];
      if (result.isTensor() && is_rank_tensor(result.toTensor())) impl_of(result.toTensor()).copies.clear();
    } else if (result.isTensor()) {
      result = call.result(result.toTensor());
    } else if (result.isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor& x : result.toTensorVector()) list.push_back(call.result(x));
      result = list;
    }
  }
}

// x.to(...), which libtorch would make of operations that know memory.
Tensor to_copy(const Tensor& x, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
               std::optional<at::Device> device, std::optional<bool>, bool, std::optional<at::MemoryFormat>) {
  const Tensor there = device && *device != x.device() ? moved(x, *device) : x;
  const auto to = dtype.value_or(x.scalar_type());
  if (!is_rank_tensor(there)) return there.to(to);
  return rank_tensor(there.device(), impl_of(there).value.to(to, /*non_blocking=*/false, /*copy=*/true));
}

void register_operations() {
  [[maybe_unused]] static const auto registered = [] {
    auto all = std::make_unique<torch::Library>(torch::Library::IMPL, "_", c10::DispatchKey::MAIA, __FILE__,
                                                __LINE__);
    all->fallback(torch::CppFunction::makeFromBoxedFunction<&on_values>());
    auto aten = std::make_unique<torch::Library>(torch::Library::IMPL, "aten", c10::DispatchKey::MAIA,
                                                 __FILE__, __LINE__);
    aten->impl("_to_copy", &to_copy);
    // Made of other operations elsewhere: whole, they give the bits that one process gets. The last ones
    // reach for a tensor's memory.
    for (const char* name :
         {"scaled_dot_product_attention", "linear", "conv2d", "matmul", "layer_norm", "group_norm",
          "rms_norm", "clone", "copy_", "contiguous", "reshape", "alias", "detach", "_unsafe_view"})
      aten->impl(name, torch::CppFunction::makeFromBoxedFunction<&on_values>());
    return std::pair(std::move(all), std::move(aten));
  }();
}

Lane& lane_of(std::optional<Lane>& own) {
  if (Lane* current = Lane::current()) return *current;
  return own.emplace(cpu_world(), /*tag=*/0, /*turn=*/nullptr, /*stop=*/nullptr);
}

// To a rank, from another.
Tensor sent(const Tensor& x, at::Device device) {
  const auto known = impl_of(x).copies.find(device.index());
  if (known != impl_of(x).copies.end()) return known->second;
  Tensor value = impl_of(x).value;
  std::optional<Lane> own;
  Lane& lane = lane_of(own);
  if (is_this_rank(x.device())) {
    lane.send(message_of(value), device.index());
    value = to_meta(value);
  } else if (is_this_rank(device)) {
    value = value_in(lane.receive(message_bytes(x), x.device().index()), x);
  }
  if (own) own->finish();
  return impl_of(x).copies.emplace(device.index(), rank_tensor(device, value)).first->second;
}

// To all ranks.
Tensor spread(const Tensor& x, at::Device device) {
  std::optional<Lane> own;
  Lane& lane = lane_of(own);
  const int from = x.device().index();
  Tensor value = impl_of(x).value;
  if (lane.rank() != from) {
    value = value_in(lane.receive(message_bytes(x), from), x);
  } else {
    const Tensor message = message_of(value);
    for (int rank = 0; rank < lane.size(); ++rank)
      if (rank != from) lane.send(message, rank);
  }
  if (own) own->finish();
  return value.to(device);
}

}  // namespace

at::Device rank_device(int rank) {
  if (rank < 0 || rank >= kMostRanks)
    throw UsageError("rank:{}: expected 0 to {}; a model is divided over so many processes at most", rank,
                     kMostRanks - 1);
  register_operations();
  return {kRank, static_cast<at::DeviceIndex>(rank)};
}

std::string device_name(at::Device device) {
  return is_rank_device(device) ? fmt::format("rank:{}", int{device.index()}) : device.str();
}

bool is_this_rank(at::Device device) { return device.index() == get_rank(); }

Tensor rank_tensor(at::Device device, const Tensor& value) {
  const c10::InferenceMode no_autograd;
  return at::detail::make_tensor<RankTensorImpl>(device, value);
}

Tensor value_of(const Tensor& x) { return is_rank_tensor(x) ? impl_of(x).value : x; }

Tensor moved(const Tensor& x, at::Device device) {
  if (!is_rank_tensor(x)) {
    if (!is_rank_device(device)) return x.to(device);
    return rank_tensor(device, is_this_rank(device) || x.is_meta() ? x : to_meta(x));
  }
  if (x.device() == device) return x;
  return is_rank_device(device) ? sent(x, device) : spread(x, device);
}

}  // namespace diffract::distributed
