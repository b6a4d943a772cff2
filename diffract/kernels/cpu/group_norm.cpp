#include "diffract/kernels/cpu/group_norm.h"

#include "diffract/kernels/cpu/vector.h"

namespace diffract::kernels::cpu {
namespace {

constexpr int kLanes = 32;
constexpr int64_t kRun = 4096;  // numbers that are summed in float32; beyond, in float64

struct Sums {
  double sum = 0, squares = 0;  // of x - shift
};

void add_run(const float* x, int64_t count, float shift, Sums& sums) {
  float sum[kLanes] = {}, squares[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) {
      const float d = x[i + lane] - shift;
      sum[lane] += d;
      squares[lane] += d * d;
    }
  for (; i < count; ++i) {
    const float d = x[i] - shift;
    sum[0] += d;
    squares[0] += d * d;
  }
  for (int lane = 0; lane < kLanes; ++lane) {
    sums.sum += sum[lane];
    sums.squares += squares[lane];
  }
}

// y = x * scale + offset, and y * sigmoid(y).
void write_map(const float* x, float* out, int64_t pixels, float scale, float offset, bool silu) {
  if (silu)
    for (int64_t i = 0; i < pixels; ++i) out[i] = silu_of(x[i] * scale + offset);
  else
    for (int64_t i = 0; i < pixels; ++i) out[i] = x[i] * scale + offset;
}

float square_root(double x) {
  float result;
  const auto as_float = static_cast<float>(x);
  result = __builtin_sqrtf(as_float);
  return result;
}

}  // namespace

namespace DIFFRACT_CPU_KIND {

// The sums are of differences to the group's first number: squares of what lies far from zero would cancel
// each other.
void group_norm(const GroupNormWork& work) {
  const auto added = [&](int64_t channel) { return work.addend ? work.addend[channel] : 0.0f; };
  Sums first;
  const int64_t some = work.pixels < kRun ? work.pixels : kRun;
  add_run(work.x, some, 0, first);
  const float pilot = static_cast<float>(first.sum / static_cast<double>(some)) + added(0);
  Sums sums;
  for (int64_t c = 0; c < work.channels; ++c)
    for (int64_t i = 0; i < work.pixels; i += kRun) {
      const int64_t count = work.pixels - i < kRun ? work.pixels - i : kRun;
      add_run(work.x + c * work.pixels + i, count, pilot - added(c), sums);
    }
  const auto count = static_cast<double>(work.channels * work.pixels);
  const double from_pilot = sums.sum / count, mean = pilot + from_pilot;
  double variance = sums.squares / count - from_pilot * from_pilot;
  variance = variance < 0 ? 0 : variance;  // NaN stays
  const float reciprocal = 1.0f / square_root(variance + work.eps);
  for (int64_t c = 0; c < work.channels; ++c) {
    const float scale = reciprocal * work.weight[c];
    const auto offset = static_cast<float>(work.bias[c] + (added(c) - mean) * scale);
    write_map(work.x + c * work.pixels, work.out + c * work.pixels, work.pixels, scale, offset, work.silu);
  }
}

}  // namespace DIFFRACT_CPU_KIND
}  // namespace diffract::kernels::cpu
