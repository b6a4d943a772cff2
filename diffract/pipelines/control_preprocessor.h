#pragma once
#include <string>

#include "diffract/io/canny.h"
#include "diffract/pipelines/request.h"

namespace diffract::pipelines {

/// What is made of a control picture before a ControlNet sees it; no network of its own is needed.
struct ControlPreprocessor {
  enum class Kind {
    none,    // the picture as it is: edges that were drawn, or a picture for a tile ControlNet
    canny,   // its edges: cv2.Canny
    inpaint  // the picture without what the mask makes anew: -1 there
  };
  Kind kind = Kind::none;
  io::CannyThresholds thresholds = {};

  /// "none", "canny", "canny:LOW:HIGH" or "inpaint". Throws UsageError for another text.
  static ControlPreprocessor parse(const std::string& text);
};

/// The preprocessor of one of `nets` ControlNets; a request has one for all, or one each. Throws UsageError
/// for another number of them, and for one that the request has no mask for.
ControlPreprocessor control_preprocessor(const Request& request, size_t net, size_t nets);

}  // namespace diffract::pipelines
