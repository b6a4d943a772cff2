#pragma once
#include <ATen/ATen.h>

#include <string>

namespace diffract::distributed {

// Tensors of one rank, in a program that all ranks run. To libtorch a rank is a device: x.device() says whose
// value x is, and an operation on tensors of one rank gives a tensor of that rank. The rank itself computes;
// the others follow with shapes alone. So a program that runs over several devices of one process, moving
// tensors where it needs them, runs over several processes, and each of them knows what is sent next.
//
// An ordinary tensor is one that every rank has; before it meets a rank's it is moved there, as between any
// two devices. All ranks must make the same calls; each call that moves a value is a message.

/// The device that stands for a rank of the world; to libtorch it is a "maia", a type of device that
/// libtorch knows the name of and has no code for. Throws UsageError for a rank that a world cannot have.
at::Device rank_device(int rank);
inline bool is_rank_device(at::Device device) { return device.type() == c10::DeviceType::MAIA; }
/// "rank:1" of a rank's device, else libtorch's name.
std::string device_name(at::Device device);
/// True for the device of this process.
bool is_this_rank(at::Device device);

/// A tensor of the rank that `device` stands for: with `value` in that rank; in others `value` is on the meta
/// device and gives only shape and dtype.
at::Tensor rank_tensor(at::Device device, const at::Tensor& value);
/// What rank_tensor was given; an ordinary tensor is its own value.
at::Tensor value_of(const at::Tensor& x);

/// `x` on another device, as x.to(device): from a rank to another it is sent (once, as long as `x` lives);
/// from a rank to an ordinary device, to all ranks; from an ordinary one to a rank nothing is sent. Throws
/// PeerError, Cancelled.
at::Tensor moved(const at::Tensor& x, at::Device device);

}  // namespace diffract::distributed
