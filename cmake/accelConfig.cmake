# SPDX-License-Identifier: Apache-2.0
# accel::accel; with COMPONENTS torch, accel::torch, which is there if accel was built with libtorch.
include(${CMAKE_CURRENT_LIST_DIR}/accelTargets.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/accelTorchTargets.cmake OPTIONAL)
if(TARGET accel::torch)
  set(accel_torch_FOUND TRUE)
endif()

foreach(component IN LISTS accel_FIND_COMPONENTS)
  if(accel_FIND_REQUIRED_${component} AND NOT accel_${component}_FOUND)
    set(accel_FOUND FALSE)
    if(component STREQUAL "torch")
      set(accel_NOT_FOUND_MESSAGE "this accel was built without libtorch: there is no accel::torch. \
Build it where libtorch-dev is installed, or with -DACCEL_TORCH_PREFIX=")
    else()
      set(accel_NOT_FOUND_MESSAGE "accel has no component '${component}'; expected torch")
    endif()
  endif()
endforeach()
