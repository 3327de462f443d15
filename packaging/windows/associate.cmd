@echo off
rem UNTESTED: written without a Windows machine.
rem Opens .vars files in the built program, for this user; "associate.cmd remove" undoes it.
rem Expects to lie in a folder inside the one that has var-studio.exe, as packaging/build-app puts it.
setlocal
set "CLASSES=HKCU\Software\Classes"
set "KIND=VARStudio.Session"
if /i "%~1"=="remove" goto remove

for %%P in ("%~dp0..\var-studio.exe") do set "PROGRAM=%%~fP"
if not exist "%PROGRAM%" (
    echo associate: there is no "%PROGRAM%".
    exit /b 2
)
reg add "%CLASSES%\.vars" /ve /d "%KIND%" /f >nul || exit /b 1
reg add "%CLASSES%\.vars\OpenWithProgids" /v "%KIND%" /t REG_NONE /f >nul || exit /b 1
reg add "%CLASSES%\%KIND%" /ve /d "VAR Studio session" /f >nul || exit /b 1
reg add "%CLASSES%\%KIND%\DefaultIcon" /ve /d "%~dp0var-studio-session.ico" /f >nul || exit /b 1
reg add "%CLASSES%\%KIND%\shell\open\command" /ve /d "\"%PROGRAM%\" gui \"%%1\"" /f >nul || exit /b 1
echo .vars files open in "%PROGRAM%".
exit /b 0

:remove
reg delete "%CLASSES%\%KIND%" /f >nul 2>nul
reg delete "%CLASSES%\.vars" /f >nul 2>nul
echo .vars files no longer open in VAR Studio.
exit /b 0
