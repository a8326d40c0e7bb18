"""Other processes, as Windows tells of them. Tried under Wine, see build/windows."""

import sys
from typing import Final

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _SYNCHRONIZE: Final = 0x00100000
    _QUERY_LIMITED_INFORMATION: Final = 0x1000
    _WAIT_TIMEOUT: Final = 0x102
    _NO_SUCH_PROCESS: Final = 87
    """ERROR_INVALID_PARAMETER, which OpenProcess also says of pid 0."""

    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel32.OpenProcess.restype = wintypes.HANDLE
    _ntdll = ctypes.WinDLL("ntdll")

    def open_process(pid: int) -> int | None:
        """A handle to wait on and to `close`; None for a process that is not ours to watch.

        Raises ProcessLookupError.
        https://learn.microsoft.com/windows/win32/api/processthreadsapi/nf-processthreadsapi-openprocess
        """
        handle: int | None = _kernel32.OpenProcess(_SYNCHRONIZE | _QUERY_LIMITED_INFORMATION, False, pid)
        if handle is None and pid != 0 and ctypes.get_last_error() == _NO_SUCH_PROCESS:
            raise ProcessLookupError(pid)
        return handle

    def close(handle: int) -> None:
        """Gives the handle back."""
        _kernel32.CloseHandle(wintypes.HANDLE(handle))

    def is_alive(pid: int) -> bool:
        """Whether there is such a process; one that is not ours to watch is there."""
        try:
            handle = open_process(pid)
        except ProcessLookupError:
            return False
        if handle is None:
            return True
        try:
            return bool(_kernel32.WaitForSingleObject(wintypes.HANDLE(handle), 0) == _WAIT_TIMEOUT)
        finally:
            close(handle)

    def parent_of(pid: int) -> int:
        """Its parent's pid, which may have died since; 0 when that cannot be told.

        https://learn.microsoft.com/windows/win32/api/winternl/nf-winternl-ntqueryinformationprocess
        """
        try:
            handle = open_process(pid)
        except ProcessLookupError:
            return 0
        if handle is None:
            return 0
        information = (ctypes.c_void_p * 6)()  # PROCESS_BASIC_INFORMATION, whose last word is the parent's id
        size = ctypes.sizeof(information)
        _ntdll.NtQueryInformationProcess(wintypes.HANDLE(handle), 0, ctypes.byref(information), size, None)
        close(handle)
        return information[5] or 0
