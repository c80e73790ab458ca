FROM scratch
RUN true \
    # is this a comment
FROM debian
