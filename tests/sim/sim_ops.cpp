// The operations of sim devices: their own for memory and views, the CPU's for everything else, after a check
// that all tensors are on one device.
#include <ATen/EmptyTensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/_copy_from_native.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include "tests/sim/sim_memory.h"

namespace diffract::sim {
namespace {

using at::Tensor;
constexpr auto kSim = c10::DeviceType::PrivateUse1;

// Calls begin on this thread's device and end at once, so there is one stream a device and no event.
struct Guard final : c10::impl::DeviceGuardImplInterface {
  static c10::Device device(int index) { return {kSim, static_cast<c10::DeviceIndex>(index)}; }
  static c10::Stream stream(c10::Device device) { return c10::Stream(c10::Stream::DEFAULT, device); }

  c10::DeviceType type() const override { return kSim; }
  c10::Device exchangeDevice(c10::Device next) const override {
    const c10::Device before = getDevice();
    setDevice(next);
    return before;
  }
  c10::Device getDevice() const override { return device(current_device()); }
  void setDevice(c10::Device next) const override {
    TORCH_CHECK(next.index() < deviceCount(), "there is no sim:", int{next.index()});
    uncheckedSetDevice(next);
  }
  void uncheckedSetDevice(c10::Device next) const noexcept override {
    if (next.has_index()) current_device() = next.index();
  }
  c10::Stream getStream(c10::Device device) const override { return stream(device); }
  c10::Stream exchangeStream(c10::Stream) const override { return stream(getDevice()); }
  c10::DeviceIndex deviceCount() const noexcept override {
    return static_cast<c10::DeviceIndex>(SimMemory::instance().device_count());
  }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const override {
    const c10::DeviceGuard guard(storage.device());
    c10::DataPtr grown = SimMemory::instance().allocate(bytes);
    if (storage.data()) std::memcpy(grown.get(), storage.data(), std::min(bytes, storage.nbytes()));
    storage.set_data_ptr_noswap(std::move(grown));
    storage.set_nbytes(bytes);
  }
};

// The same memory as a tensor of the CPU.
Tensor as_cpu(const Tensor& x) {
  if (!x.defined() || !x.device().is_privateuseone()) return x;
  if (x.numel() == 0) return at::empty(x.sizes(), x.options().device(at::kCPU));
  return at::from_blob(x.data_ptr(), x.sizes(), x.strides(), x.options().device(at::kCPU));
}

Tensor to_sim(const Tensor& x, c10::Device device) {
  if (!x.defined() || !x.device().is_cpu()) return x;
  const Tensor moved = at::empty_strided(x.sizes(), x.strides(), x.options().device(device));
  if (x.numel() > 0) as_cpu(moved).copy_(x);
  return moved;
}

// The device of a call, from its tensors.
class CallDevice {
 public:
  explicit CallDevice(std::string name) : name_(std::move(name)) {}
  void add(const Tensor& x) {
    if (!x.defined()) return;
    if (x.device().is_cpu() && x.dim() == 0) return;  // a number
    TORCH_CHECK(!device_ || *device_ == x.device(),
                "Expected all tensors to be on the same device, but found at least two devices, ", *device_,
                " and ", x.device(), "! (in ", name_, ")");
    device_ = x.device();
  }
  void add(c10::Device device) {
    if (!device_) device_ = device;
  }
  c10::Device device() const {
    if (!device_) return {kSim, static_cast<c10::DeviceIndex>(current_device())};
    return device_->has_index() ? *device_
                                : c10::Device(kSim, static_cast<c10::DeviceIndex>(current_device()));
  }

 private:
  std::string name_;
  std::optional<c10::Device> device_;
};

c10::IValue argument_on_cpu(const c10::IValue& value, CallDevice& call) {
  if (value.isTensor()) {
    call.add(value.toTensor());
    return as_cpu(value.toTensor());
  }
  if (value.isTensorList()) {
    c10::List<Tensor> list;
    for (const Tensor& x : value.toTensorVector()) {
      call.add(x);
      list.push_back(as_cpu(x));
    }
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<Tensor>> list;
    for (const std::optional<Tensor>& x : value.toOptionalTensorVector()) {
      if (x) call.add(*x);
      list.push_back(x ? std::optional<Tensor>(as_cpu(*x)) : std::nullopt);
    }
    return list;
  }
  if (value.isDevice() && value.toDevice().is_privateuseone()) {
    call.add(value.toDevice());
    return c10::Device(at::kCPU);
  }
  return value;
}

// What the call wrote into an argument: in place already, but where that was empty and has grown.
Tensor written(const Tensor& argument, const Tensor& cpu) {
  if (argument.sizes() == cpu.sizes()) return argument;
  at::native::resize_(argument, cpu.sizes());
  as_cpu(argument).copy_(cpu);
  return argument;
}

void on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const size_t count = schema.arguments().size();
  const std::vector<c10::IValue> arguments(stack->end() - static_cast<std::ptrdiff_t>(count), stack->end());
  stack->resize(stack->size() - count);
  CallDevice call(schema.name());
  std::vector<c10::IValue> on_cpu;
  for (const c10::IValue& argument : arguments) on_cpu.push_back(argument_on_cpu(argument, call));
  stack->insert(stack->end(), on_cpu.begin(), on_cpu.end());
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);

  const auto returned = [&](const Tensor& result) {
    for (size_t i = 0; i < count; ++i) {
      const auto* alias = schema.arguments()[i].alias_info();
      if (arguments[i].isTensor() && on_cpu[i].toTensor().is_same(result))
        return alias && alias->isWrite() ? written(arguments[i].toTensor(), result) : arguments[i].toTensor();
    }
    return to_sim(result, call.device());
  };
  const size_t first = stack->size() - schema.returns().size();
  for (size_t i = first; i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) {
      value = returned(value.toTensor());
    } else if (value.isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor& x : value.toTensorVector()) list.push_back(returned(x));
      value = list;
    }
  }
}

Tensor empty(c10::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
             std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  const c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_generic(size, &SimMemory::instance(),
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   dtype.value_or(at::kFloat), format);
}

Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<at::ScalarType> dtype,
                     std::optional<at::Layout>, std::optional<at::Device> device, std::optional<bool>) {
  const c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_strided_generic(size, stride, &SimMemory::instance(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           dtype.value_or(at::kFloat));
}

Tensor as_strided(const Tensor& x, c10::IntArrayRef size, c10::IntArrayRef stride,
                  std::optional<int64_t> offset) {
  return at::native::as_strided_tensorimpl(x, size, stride, offset);
}

const Tensor& resize(const Tensor& x, c10::IntArrayRef size, std::optional<at::MemoryFormat> format) {
  return at::native::resize_(x, size, format);
}

Tensor copy_from(const Tensor& from, const Tensor& to, bool) {
  if (from.device() != to.device()) SimMemory::instance().count_transfer(from.nbytes());
  as_cpu(to).copy_(as_cpu(from));
  return to;
}

Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  at::native::resize_(to, from.sizes());
  return copy_from(from, to, false);
}

at::Scalar local_scalar_dense(const Tensor& x) { return as_cpu(x).item(); }

Tensor convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias,
                   c10::IntArrayRef stride, c10::IntArrayRef padding, c10::IntArrayRef dilation,
                   bool transposed, c10::IntArrayRef output_padding, int64_t groups) {
  CallDevice call("convolution");
  call.add(input);
  call.add(weight);
  if (bias) call.add(*bias);
  return to_sim(at::convolution(as_cpu(input), as_cpu(weight), bias ? as_cpu(*bias) : Tensor(), stride,
                                padding, dilation, transposed, output_padding, groups),
                call.device());
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&on_cpu>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("as_strided", &as_strided);
  m.impl("view", &at::native::view);
  m.impl("_reshape_alias", &at::native::_reshape_alias);
  m.impl("view_as_complex", &at::native::view_as_complex);
  m.impl("view_as_real", &at::native::view_as_real);
  m.impl("unfold", &at::native::unfold);
  m.impl("resize_", &resize);
  m.impl("_copy_from", &copy_from);
  m.impl("_copy_from_and_resize", &copy_from_and_resize);
  m.impl("_local_scalar_dense", &local_scalar_dense);
  m.impl("convolution_overrideable", &convolution);
  // Made of other operations, in another way on the CPU: whole, they give its bits.
  for (const char* name :
       {"scaled_dot_product_attention", "linear", "conv2d", "matmul", "layer_norm", "group_norm", "rms_norm"})
    m.impl(name, torch::CppFunction::makeFromBoxedFunction<&on_cpu>());
}

}  // namespace

/// Makes libtorch know the devices. Once a process.
void register_sim_devices() {
  static Hooks hooks;
  c10::register_privateuse1_backend("sim");
  at::RegisterPrivateUse1HooksInterface(&hooks);
  c10::SetAllocator(kSim, &SimMemory::instance());
}

}  // namespace diffract::sim
