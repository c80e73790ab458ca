FROM debian:trixie AS tools
FROM scratch
COPY --from=tools /a /a
COPY --from=busybox:1 /b /b
