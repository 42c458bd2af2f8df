# Debian's cross compiler for AArch64. AARCH64_SYSROOT in the environment: a folder with what
# Debian's packages for AArch64 hold, where the libraries and headers lie that the compiler does not
# bring along.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

set(sysroot "$ENV{AARCH64_SYSROOT}")
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L "${sysroot}")
set(CMAKE_C_FLAGS_INIT "-idirafter ${sysroot}/usr/include")
set(CMAKE_CXX_FLAGS_INIT "-idirafter ${sysroot}/usr/include")
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${sysroot}")
set(ENV{PKG_CONFIG_LIBDIR} "${sysroot}/usr/lib/aarch64-linux-gnu/pkgconfig")
