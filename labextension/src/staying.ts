import { Dialog } from '@jupyterlab/apputils';
import type { ReactWidget } from '@jupyterlab/ui-components';

interface IOptions {
  title: string;
  body: ReactWidget;
  /** Of the button that closes the dialog. */
  close: string;
  /** Of the button that does something; Enter does it too. */
  accept: string;
  focusNodeSelector: string;
}

/** A dialog that stays open while its work is done, and closes only when the work says so. */
export class StayingDialog extends Dialog<unknown> {
  /**
   * @param options - What it shows.
   * @param _work - Does what the form asks for; true when the dialog may close. It says itself what went wrong.
   */
  constructor(
    options: IOptions,
    private _work: () => Promise<boolean>
  ) {
    super({
      title: options.title,
      body: options.body,
      buttons: [
        Dialog.cancelButton({ label: options.close }),
        Dialog.okButton({ label: options.accept })
      ],
      focusNodeSelector: options.focusNodeSelector
    });
  }

  override resolve(index = ACCEPT): void {
    if (index === ACCEPT) {
      void this._do();
    } else {
      super.resolve(index);
    }
  }

  private async _do(): Promise<void> {
    if (this._isBusy) {
      return;
    }
    this._setBusy(true);
    const isDone = await this._work();
    this._setBusy(false);
    if (isDone) {
      super.resolve(ACCEPT);
    }
  }

  private _setBusy(isBusy: boolean): void {
    this._isBusy = isBusy;
    const button = this.node.querySelector('.jp-mod-accept');
    button?.toggleAttribute('disabled', isBusy);
  }

  private _isBusy = false;
}

const ACCEPT = 1;
