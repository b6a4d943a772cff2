#include "diffract/loading/device_budgets.h"

#include <sys/resource.h>

#include <algorithm>
#include <mutex>

#include "diffract/core/error.h"
#include "diffract/core/log.h"

namespace diffract::loading {
namespace {

using Device = std::pair<tensor::DeviceBackend*, int>;

struct Limits {
  std::mutex mutex;
  std::map<Device, std::vector<uint64_t>> of;  // every budget that lives
  static Limits& instance() {
    static auto* only = new Limits;
    return *only;
  }
  std::optional<uint64_t> least(const Device& device) const {
    const auto found = of.find(device);
    if (found == of.end() || found->second.empty()) return {};
    return *std::min_element(found->second.begin(), found->second.end());
  }
};

}  // namespace

DeviceBudgets::DeviceBudgets(tensor::DeviceBackend& backend, const placement::MaxMemory& max_memory)
    : backend_(backend), max_memory_(max_memory) {
  for (const auto& [place, bytes] : max_memory_)
    if (place.is_accelerator() && place.index() >= backend.device_count())
      throw UsageError("max_memory: names device {}; there are {} {} devices, numbered from 0", place.index(),
                       backend.device_count(), backend.name());
  auto& limits = Limits::instance();
  const std::lock_guard lock(limits.mutex);
  for (const auto& [place, bytes] : max_memory_) {
    if (!place.is_accelerator()) continue;
    const Device device{&backend_, place.index()};
    limits.of[device].push_back(static_cast<uint64_t>(bytes));
    backend_.set_limit(place.index(), limits.least(device));
  }
}

DeviceBudgets::~DeviceBudgets() {
  auto& limits = Limits::instance();
  const std::lock_guard lock(limits.mutex);
  for (const auto& [place, bytes] : max_memory_) {
    if (!place.is_accelerator()) continue;
    const Device device{&backend_, place.index()};
    auto& all = limits.of[device];
    all.erase(std::find(all.begin(), all.end(), static_cast<uint64_t>(bytes)));
    try {
      backend_.set_limit(place.index(), limits.least(device));
    } catch (const std::exception& error) {  // a device that failed
      log::debug("the limit of {}:{} stays: {}", backend_.name(), place.index(), error.what());
    }
  }
}

std::vector<MemoryPeak> memory_peaks() {
  std::vector<MemoryPeak> peaks;
  auto& limits = Limits::instance();
  const std::lock_guard lock(limits.mutex);
  for (tensor::DeviceBackend* backend : tensor::loaded_backends())
    for (int i = 0; i < backend->device_count(); ++i)
      if (const uint64_t peak = backend->peak(i); peak > 0)
        peaks.push_back({.device = fmt::format("{}:{}", backend->name(), i),
                         .peak_bytes = peak,
                         .budget_bytes = limits.least({backend, i})});
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  peaks.push_back(
      {.device = "cpu", .peak_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024, .budget_bytes = {}});
  return peaks;
}

void reset_peaks() {
  for (tensor::DeviceBackend* backend : tensor::loaded_backends())
    for (int i = 0; i < backend->device_count(); ++i) backend->reset_peak(i);
}

}  // namespace diffract::loading
