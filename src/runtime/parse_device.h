// The key "device" of the metadata, checked.
#pragma once

#include "device_metadata.h"
#include "fields.h"

namespace burnish::runtime {

// Every size, index and offset lies within what `model` says of itself so far, which is all but
// its device.
DeviceSpec parse_device(const Json& json, const Metadata& model);

}  // namespace burnish::runtime
