def run_video(session, source):
    pass
