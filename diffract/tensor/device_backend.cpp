#include "diffract/tensor/device_backend.h"

#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

#include "diffract/core/error.h"
#include "diffract/core/log.h"

namespace diffract::tensor {
namespace fs = std::filesystem;
namespace {

struct Found {
  DeviceBackend* backend = nullptr;
  std::string why_not;
};

std::vector<fs::path> search_path() {
  std::vector<fs::path> folders;
  if (const char* given = std::getenv("DIFFRACT_BACKEND_PATH")) {
    std::string_view rest = given;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find(':'), rest.size());
      if (end > 0) folders.emplace_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  std::error_code ignored;
  if (const fs::path program = fs::read_symlink("/proc/self/exe", ignored); !program.empty()) {
    folders.push_back(program.parent_path());
    folders.push_back(program.parent_path().parent_path() / "lib/diffract");
    folders.push_back(program.parent_path().parent_path() / "lib");
  }
  return folders;
}

Found open_library(const fs::path& file) {
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) return {nullptr, fmt::format("{} cannot be loaded: {}", file.string(), ::dlerror())};
  using Entry = BackendEntry (*)();
  const auto entry = reinterpret_cast<Entry>(::dlsym(library, "diffract_device_backend"));
  if (!entry) return {nullptr, fmt::format("{} is not a backend of diffract", file.string())};
  const BackendEntry found = entry();
  if (found.interface_version != kBackendInterface)
    return {nullptr, fmt::format("{} belongs to another version of diffract", file.string())};
  if (!found.backend) return {nullptr, found.why_unusable};
  return {found.backend, ""};
}

Found load(const std::string& name) {
  const std::string file_name = fmt::format("libdiffract_{}.so", name);
  std::string looked_in;
  for (const fs::path& folder : search_path()) {
    std::error_code ignored;
    if (fs::is_regular_file(folder / file_name, ignored)) return open_library(folder / file_name);
    looked_in += fmt::format("{}{}", looked_in.empty() ? "" : ", ", folder.string());
  }
  return {nullptr,
          fmt::format("{} is not in {}. {}DIFFRACT_BACKEND_PATH names more folders", file_name, looked_in,
                      name == "cuda"
                          ? "Install CUDA's libraries with make setup-cuda and build it with make cuda; "
                          : "")};
}

std::mutex& registry_mutex() {
  static std::mutex mutex;
  return mutex;
}

std::map<std::string, Found, std::less<>>& registry() {
  static std::map<std::string, Found, std::less<>> found;
  return found;
}

const Found& look_up(std::string_view name) {
  const std::lock_guard lock(registry_mutex());
  const auto known = registry().find(name);
  if (known != registry().end()) return known->second;
  return registry().emplace(name, load(std::string(name))).first->second;
}

}  // namespace

DeviceBackend* find_backend(std::string_view name) { return look_up(name).backend; }

std::string why_no_backend(std::string_view name) { return look_up(name).why_not; }

std::vector<DeviceBackend*> loaded_backends() {
  const std::lock_guard lock(registry_mutex());
  std::vector<DeviceBackend*> backends;
  for (const auto& [name, found] : registry())
    if (found.backend) backends.push_back(found.backend);
  return backends;
}

void await_backends() noexcept {
  try {
    for (DeviceBackend* backend : loaded_backends()) backend->await_work();
  } catch (const std::exception& error) {
    log::info("an accelerator's libraries may still be loading: {}", error.what());
  }
}

bool devices_answer() noexcept {
  try {
    for (DeviceBackend* backend : loaded_backends())
      for (int device = 0; device < backend->device_count(); ++device)
        if (backend->peak(device) > 0) backend->synchronize(device);
    return true;
  } catch (const std::exception& error) {
    log::debug("{}", error.what());
    return false;
  }
}

DeviceBackend& backend_of(at::Device device) {
  for (DeviceBackend* backend : loaded_backends())
    if (backend->type() == device.type()) return *backend;
  // A program may name a device by libtorch's type alone: at::kCUDA.
  const std::string name = device.is_cuda() ? "cuda" : "";
  if (DeviceBackend* backend = name.empty() ? nullptr : find_backend(name)) return *backend;
  throw UsageError("device {}: no backend for it is loaded{}", device.str(),
                   name.empty() ? "" : ": " + why_no_backend(name));
}

}  // namespace diffract::tensor
