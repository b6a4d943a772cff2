#include <ATen/Parallel.h>
#include <ATen/cpu/Utils.h>
#include <fmt/format.h>
#include <unistd.h>

#include "diffract/cli/arguments.h"
#include "diffract/cli/command.h"
#include "diffract/cli/json_output.h"
#include "diffract/core/bounded_spin.h"
#include "diffract/core/control_group.h"
#include "diffract/core/json.h"
#include "diffract/core/version.h"
#include "diffract/io/hub_cache.h"
#include "diffract/kernels/cuda_kernels.h"
#include "diffract/loading/builtin_models.h"
#include "diffract/schedulers/schedule.h"
#include "diffract/tensor/device_backend.h"
#include "diffract/tensor/dtype.h"
#include "diffract/tensor/measured_speed.h"
#include "diffract/tensor/threads.h"

namespace diffract::cli {
namespace {

std::string cpu_name() {
  const auto capabilities = at::cpu::get_cpu_capabilities();
  const auto found = capabilities.find("cpu_name");
  return found != capabilities.end() && found->second.isString() ? found->second.toStringRef() : "unknown";
}

// One entry a GPU, or why there is none.
Json examine_gpus() {
  const tensor::DeviceBackend* backend = tensor::find_backend("cuda");
  if (!backend) return tensor::why_no_backend("cuda");
  const auto* provider = dynamic_cast<const kernels::CudaKernelsProvider*>(backend);
  Json gpus = Json::object();
  for (int device = 0; provider && device < backend->device_count(); ++device) {
    Json& gpu = gpus[fmt::format("cuda:{}", device)];
    for (const auto& [name, value] : provider->describe(device)) gpu[name] = value;
  }
  return gpus;
}

// How libgomp's threads wait for each other (core/bounded_spin.h).
std::string waiting() {
  for (const char* name : {kSpinVariable, kWaitPolicyVariable})
    if (const char* value = std::getenv(name)) return fmt::format("{}={}", name, value);
  return "as libgomp does by itself";
}

Json examine() {
  tensor::take_chosen_threads();
  Json features = Json::array();
  for (const char* name : {"avx2", "f16c", "avx512_f", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_fp16"})
    if (tensor::cpu_has(name)) features.push_back(name);
  Json speed = Json::object();
  for (const auto dtype : {at::kFloat, at::kBFloat16, at::kHalf})
    speed[tensor::dtype_name(dtype)] = std::round(tensor::matmul_gflops(dtype) * 10) / 10;
  const auto memory =
      static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  return {{"version", kVersion},
          {"libtorch", DIFFRACT_TORCH_VERSION},
          {"cpu", cpu_name()},
          {"cpu_features", features},
          {"threads", at::get_num_threads()},
          {"threads_wait", waiting()},
          {"cpu_quota", cpu_quota() ? Json(*cpu_quota()) : Json("none")},
          {"memory_bytes", memory},
          {"matmul_gflops", speed},
          {"cuda", examine_gpus()},
          {"models", loading::builtin_models()},
          {"hub_cache", io::hub_cache_folder().string()},
          {"schedulers", schedulers::scheduler_names()}};
}

void print_gpus(const Json& gpus) {
  for (const auto& [device, facts] : gpus.items())
    for (const auto& [name, value] : facts.items())
      fmt::print("{:<16} {:<19} {}\n", device, name, value.get<std::string>());
}

void print(const Json& report) {
  for (const auto& [key, value] : report.items()) {
    std::string text;
    if (key == "cuda" && value.is_object()) {
      print_gpus(value);
      continue;
    }
    if (value.is_string()) {
      text = value.get<std::string>();
    } else if (value.is_array()) {
      for (const Json& item : value) text += (text.empty() ? "" : ", ") + item.get<std::string>();
    } else if (value.is_object()) {
      for (const auto& [name, number] : value.items())
        text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, number.dump());
    } else {
      text = json_text(value);
    }
    fmt::print("{:<16} {}\n", key, text);
  }
}

}  // namespace

Command doctor_command() {
  return {.name = "doctor",
          .summary = "reports what this machine has and how fast it computes",
          .declare = [](CLI::App& app) -> std::function<void()> {
            auto json = std::make_shared<bool>(false);
            app.add_flag("--json", *json, "One JSON object on stdout");
            app.footer("Example:\n  diffract doctor");
            return [json] {
              const Json report = examine();
              if (*json)
                print_json(report, 2);
              else
                print(report);
            };
          }};
}

}  // namespace diffract::cli
