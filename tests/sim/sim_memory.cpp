#include "tests/sim/sim_memory.h"

#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string_view>

#include "diffract/placement/max_memory.h"

namespace diffract::sim {
namespace {

constexpr size_t kMostDevices = 8;
constexpr uint64_t kDefaultBytes = uint64_t{4} << 30;

std::vector<uint64_t> caps_from_environment() {
  const char* given = std::getenv("DIFFRACT_SIM_MEMORY");
  if (!given) return std::vector<uint64_t>(kMostDevices, kDefaultBytes);
  std::vector<uint64_t> caps;
  std::string_view rest = given;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(','), rest.size());
    caps.push_back(static_cast<uint64_t>(placement::MemorySize(std::string(rest.substr(0, end))).bytes));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (caps.size() > kMostDevices) throw std::runtime_error("DIFFRACT_SIM_MEMORY names more than 8 devices");
  return caps;
}

}  // namespace

int& current_device() {
  thread_local int device = 0;
  return device;
}

struct SimMemory::Block {
  void* data;
  size_t bytes;
  int device;
};

SimMemory& SimMemory::instance() {
  static auto* only = new SimMemory;  // outlives every tensor
  return *only;
}

SimMemory::SimMemory() {
  for (const uint64_t cap : caps_from_environment()) devices_.push_back({.cap = cap, .limit = cap});
}

c10::DataPtr SimMemory::allocate(size_t bytes) {
  const int index = current_device();
  const c10::Device device(c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(index));
  if (bytes == 0) return {nullptr, nullptr, &SimMemory::give_back, device};
  {
    const std::lock_guard lock(mutex_);
    ++allocations_;
    Device& memory = devices_.at(static_cast<size_t>(index));
    const bool told_to_fail = fails_in_ > 0 && --fails_in_ == 0;
    TORCH_CHECK_WITH(OutOfMemoryError, !told_to_fail && memory.used + bytes <= memory.limit,
                     "sim out of memory. Tried to allocate ", bytes, " bytes on sim:", index, ", where ",
                     memory.used, " of ", memory.limit, " are in use", told_to_fail ? " (told to fail)" : "");
    memory.used += bytes;
    memory.peak = std::max(memory.peak, memory.used);
    ++live_;
  }
  auto* block = new Block{c10::alloc_cpu(bytes), bytes, index};
  return {block->data, block, &SimMemory::give_back, device};
}

void SimMemory::give_back(void* context) {
  if (!context) return;
  auto* block = static_cast<Block*>(context);
  SimMemory& memory = instance();
  c10::free_cpu(block->data);
  const std::lock_guard lock(memory.mutex_);
  memory.devices_[static_cast<size_t>(block->device)].used -= block->bytes;
  --memory.live_;
  delete block;
}

void SimMemory::copy_data(void* to, const void* from, size_t bytes) const { std::memcpy(to, from, bytes); }

tensor::DeviceMemory SimMemory::memory(int device) const {
  const std::lock_guard lock(mutex_);
  const Device& memory = devices_.at(static_cast<size_t>(device));
  return {
      .total = memory.cap, .free = memory.limit - std::min(memory.limit, memory.used), .used = memory.used};
}

uint64_t SimMemory::peak(int device) const {
  const std::lock_guard lock(mutex_);
  return devices_.at(static_cast<size_t>(device)).peak;
}

void SimMemory::reset_peak(int device) {
  const std::lock_guard lock(mutex_);
  Device& memory = devices_.at(static_cast<size_t>(device));
  memory.peak = memory.used;
}

void SimMemory::set_limit(int device, std::optional<uint64_t> bytes) {
  const std::lock_guard lock(mutex_);
  Device& memory = devices_.at(static_cast<size_t>(device));
  memory.limit = std::min(memory.cap, bytes.value_or(memory.cap));
}

void SimMemory::fail_allocation(int64_t count) {
  const std::lock_guard lock(mutex_);
  fails_in_ = count;
}

}  // namespace diffract::sim
