#include "diffract/core/error.h"

namespace diffract {

ErrorInfo error_info(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::usage:
      return {"usage", 2, 400};
    case ErrorKind::checkpoint:
      return {"checkpoint", 3, 500};
    case ErrorKind::memory:
      return {"memory", 4, 503};
    case ErrorKind::peer:
      return {"peer", 5, 503};
    case ErrorKind::io:
      return {"io", 6, 507};
    case ErrorKind::some_failed:
      return {"some_failed", 7, 500};
    case ErrorKind::cancelled:
      return {"cancelled", 130, 499};
    case ErrorKind::internal:
      return {"internal", 70, 500};
  }
  return {"internal", 70, 500};
}

}  // namespace diffract
