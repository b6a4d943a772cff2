#include "diffract/kernels/cuda/tuning.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <limits>
#include <map>
#include <mutex>

#include "diffract/kernels/choices.h"

namespace diffract::kernels::cuda {
namespace {

constexpr int kRounds = 3, kRuns = 8;    // of an offer; runs are back to back
constexpr float kClearlyFaster = 0.98f;  // than the one that cublasLt thinks best
// Products of this length draw all the power that the GPU may; then the one that needs least of it is the
// fastest, which shows only when it runs for longer.
constexpr float kLongMilliseconds = 0.15f;
constexpr float kNear = 1.08f;  // of the fastest: worth the longer look
constexpr float kLoadedMilliseconds = 40;

bool measures() {
  static const bool wanted = [] {
    const char* value = std::getenv("DIFFRACT_CUDA_TUNE");
    return !value || value[0] != '0';
  }();
  return wanted;
}

bool is_recording(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  return cudaStreamIsCapturing(stream, &status) == cudaSuccess && status != cudaStreamCaptureStatusNone;
}

std::string name_of(const Shape& s) {
  return fmt::format("{} {}x{}x{} strides {} {} {}{}{}{}", c10::toString(s.type), s.rows, s.in, s.out,
                     s.x_stride, s.out_stride, s.residual_stride, s.bias ? " bias" : "",
                     s.gelu ? " gelu" : "", s.tf32 ? " tf32" : "");
}

// The file of a GPU's choices, named after what they hang on.
std::filesystem::path choices_file(int device) {
  const auto folder = cache_folder();
  cudaDeviceProp properties{};
  int driver = 0;
  if (folder.empty() || cudaGetDeviceProperties(&properties, device) != cudaSuccess ||
      cudaDriverGetVersion(&driver) != cudaSuccess)
    return {};
  std::string name = fmt::format("products-{}-{}-driver{}-cublaslt{}.json", properties.name,
                                 properties.multiProcessorCount, driver, cublasLtGetVersion());
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '.') c = '_';
  return folder / name;
}

class Stopwatch {
 public:
  explicit Stopwatch(cudaStream_t stream) : stream_(stream) {
    cudaEventCreate(&begin_);
    cudaEventCreate(&end_);
  }
  ~Stopwatch() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  // Milliseconds of one of `count` runs. Back to back, as they come in a model: alone, a run has the GPU's
  // full clock, which it does not keep.
  float time(int count, const std::function<void()>& run) {
    cudaEventRecord(begin_, stream_);
    for (int i = 0; i < count; ++i) run();
    cudaEventRecord(end_, stream_);
    cudaEventSynchronize(end_);
    float all = 0;
    cudaEventElapsedTime(&all, begin_, end_);
    return all / static_cast<float>(count);
  }

 private:
  cudaStream_t stream_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

struct Candidate {
  int place;
  std::function<void()> run;
  float milliseconds = std::numeric_limits<float>::max();
};

// The place of the fastest; an earlier one unless a later is clearly faster.
const Candidate& fastest_of(const std::vector<Candidate>& candidates) {
  const Candidate* best = &candidates.front();
  for (const Candidate& c : candidates)
    if (c.milliseconds < best->milliseconds * kClearlyFaster) best = &c;
  return *best;
}

int measure(const std::vector<cublasLtMatmulAlgo_t>& offers, Product& product, const Call& call,
            void* workspace, cudaStream_t stream, const std::function<void()>& by_aten) {
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < offers.size(); ++i)
    if (product.run(call, offers[i], workspace, stream) == CUBLAS_STATUS_SUCCESS)
      candidates.push_back(
          {.place = static_cast<int>(i), .run = [&, i] { product.run(call, offers[i], workspace, stream); }});
  if (by_aten) {
    by_aten();
    candidates.push_back({.place = Choices::kByAten, .run = by_aten});
  }
  if (candidates.empty()) return Choices::kByAten;
  Stopwatch watch(stream);
  for (int round = 0; round < kRounds; ++round)
    for (Candidate& c : candidates) c.milliseconds = std::min(c.milliseconds, watch.time(kRuns, c.run));
  const float least = fastest_of(candidates).milliseconds;
  if (least < kLongMilliseconds) return fastest_of(candidates).place;
  std::erase_if(candidates, [&](const Candidate& c) { return c.milliseconds > least * kNear; });
  const int count = static_cast<int>(kLoadedMilliseconds / least);
  watch.time(count, candidates.front().run);  // until the GPU is at its limit
  for (Candidate& c : candidates) c.milliseconds = watch.time(count, c.run);
  return fastest_of(candidates).place;
}

struct Choice {
  std::optional<cublasLtMatmulAlgo_t>
      algorithm;                // none: cublasLt has none for this shape, or ATen's is faster
  bool is_provisional = false;  // cublasLt's first, until it is measured
};

struct Known {
  std::mutex mutex;
  std::map<Shape, Choice> algorithms;
  std::map<int, Choices> choices;  // of a device
  ~Known() { save(); }
  void save() {
    for (auto& [device, of_device] : choices) of_device.save();
  }
};
Known& known() {
  static Known all;
  return all;
}

thread_local bool measures_now = false;

// Nothing: neither known nor to be measured now.
std::optional<int> place_of(const Shape& shape, const std::vector<cublasLtMatmulAlgo_t>& offers,
                            Product& product, const Call& call, void* workspace, cudaStream_t stream,
                            const std::function<void()>& by_aten) {
  auto& all = known().choices;
  auto choices = all.find(shape.device);
  if (choices == all.end())
    choices = all.emplace(shape.device, Choices(choices_file(shape.device), Product::kMostOffers)).first;
  const std::string name = name_of(shape);
  if (const auto place = choices->second.find(name))
    if (*place == Choices::kByAten ? bool(by_aten) : *place < static_cast<int>(offers.size())) return *place;
  if (!measures_now) return std::nullopt;
  const int place = measure(offers, product, call, workspace, stream, by_aten);
  choices->second.keep(name, place);
  return place;
}

}  // namespace

std::optional<cublasLtMatmulAlgo_t> algorithm_for(const Shape& shape, Product& product, const Call& call,
                                                  void* workspace, cudaStream_t stream,
                                                  const std::function<void()>& by_aten) {
  const std::lock_guard lock(known().mutex);
  const auto found = known().algorithms.find(shape);
  const bool records = is_recording(stream);
  if (found != known().algorithms.end() && (records || !measures_now || !found->second.is_provisional))
    return found->second.algorithm;
  const auto offers = product.offers(call);
  Choice choice;
  if (!offers.empty()) choice.algorithm = offers.front();
  if (records) return choice.algorithm;  // cannot be measured now
  if (measures() && offers.size() > 1 && call.residual != call.out) {
    const auto place = place_of(shape, offers, product, call, workspace, stream, by_aten);
    choice.is_provisional = !place;
    if (place == Choices::kByAten)
      choice.algorithm.reset();
    else if (place)
      choice.algorithm = offers[static_cast<size_t>(*place)];
  }
  known().algorithms[shape] = choice;
  return choice.algorithm;
}

bool has_unmeasured() {
  const std::lock_guard lock(known().mutex);
  return std::any_of(known().algorithms.begin(), known().algorithms.end(),
                     [](const auto& entry) { return entry.second.is_provisional; });
}

void measure_products(const std::function<void()>& work) {
  measures_now = true;
  try {
    work();
  } catch (...) {
    measures_now = false;
    throw;
  }
  measures_now = false;
  const std::lock_guard lock(known().mutex);
  known().save();
  // What is left belongs to work that is seldom done.
  for (auto& [shape, choice] : known().algorithms) choice.is_provisional = false;
}

}  // namespace diffract::kernels::cuda
