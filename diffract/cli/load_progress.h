#pragma once
#include <chrono>
#include <string>

#include "diffract/pipelines/pipeline.h"

namespace diffract::cli {

/// Shows on stderr how far the loading of models has come: a bar on a terminal, a line now and then
/// elsewhere, nothing for a model that is loaded at once.
class LoadProgress {
 public:
  void operator()(const loading::LoadReport& report);

 private:
  using Clock = std::chrono::steady_clock;
  std::string component_;
  Clock::time_point begin_, shown_;
  bool is_shown_ = false;  // on a terminal, a bar stands on the line
};

}  // namespace diffract::cli
